//! Where traces go.

use url::Url;

use super::{ConfigError, optional, value_or};

/// The OpenTelemetry collector, and how many traces it gets.
#[derive(Debug, Clone)]
pub struct TracesConfig {
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`: the collector's address for OTLP over HTTP, without `/v1/traces`. Unset: no traces.
    pub endpoint: Option<Url>,
    /// `OTEL_TRACES_SAMPLER_ARG`: which share of the traces that begin here is recorded, 0 to 1. Default 1. A trace that began
    /// elsewhere is recorded if it was there.
    pub ratio: f64,
}

impl TracesConfig {
    /// Reads the section. `OTEL_EXPORTER_OTLP_HEADERS`, what to send along, is read by the exporter itself.
    pub fn from_env() -> Result<Self, ConfigError> {
        let endpoint = optional(ENDPOINT)?.map(|text| traces_url(&text)).transpose();
        let ratio: f64 = value_or(RATIO, 1.0)?;
        if !(0.0..=1.0).contains(&ratio) {
            return Err(ConfigError::Invalid { variable: RATIO, problem: format!("{ratio} is not between 0 and 1") });
        }
        Ok(Self { endpoint: endpoint.map_err(|problem| ConfigError::Invalid { variable: ENDPOINT, problem })?, ratio })
    }
}

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const RATIO: &str = "OTEL_TRACES_SAMPLER_ARG";

/// The path is that of the OTLP specification.
fn traces_url(base: &str) -> Result<Url, String> {
    let url = Url::parse(&format!("{}/v1/traces", base.trim_end_matches('/'))).map_err(|error| error.to_string())?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(format!("`{other}` is not a scheme of OTLP over HTTP; use http or https")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_traces_is_added_to_the_collectors_address() {
        assert_eq!(traces_url("http://localhost:4318").unwrap().as_str(), "http://localhost:4318/v1/traces");
        assert_eq!(traces_url("https://example.com/otlp/").unwrap().as_str(), "https://example.com/otlp/v1/traces");
        assert!(traces_url("localhost:4317").is_err());
        assert!(traces_url("nonsense").is_err());
    }
}

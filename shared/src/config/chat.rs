//! How often the assistant may be asked, and how many may listen to it.

use std::{net::IpAddr, num::NonZeroU32, time::Duration};

use ipnet::IpNet;

use super::{ConfigError, optional, seconds_or, value_or};

/// Limits of the assistant and of its sockets.
#[derive(Debug, Clone)]
pub struct ChatConfig {
    /// `ASSISTANT_QUESTIONS_PER_MINUTE`: how often a person may ask. Default 20.
    pub questions_per_minute: u32,
    /// `ASSISTANT_QUESTIONS_BURST`: how many of these at once, after a pause. Default 10.
    pub questions_burst: u32,
    /// `ASSISTANT_QUESTIONS_PER_DAY`: how often a person may ask on a day, UTC. Default 300.
    pub questions_per_day: u32,
    /// `ASSISTANT_TENANT_QUESTIONS_PER_MINUTE`: how often all people of a tenant may ask together. Default 600.
    pub tenant_questions_per_minute: u32,
    /// `CHAT_SOCKETS_PER_PERSON`: how many sockets a person may have open, over all API processes. Default 5.
    pub sockets_per_person: u32,
    /// `CHAT_SOCKETS`: how many sockets one API process keeps open. Default 12000.
    pub sockets: u32,
    /// `CHAT_HEARTBEAT_SECONDS`: how often a socket is pinged. Credentials are checked again after three quarters of it, and a
    /// socket is closed after nine quarters without a sign of life. Default 20.
    pub heartbeat: Duration,
}

impl Default for ChatConfig {
    fn default() -> Self {
        Self {
            questions_per_minute: 20,
            questions_burst: 10,
            questions_per_day: 300,
            tenant_questions_per_minute: 600,
            sockets_per_person: 5,
            sockets: 12_000,
            heartbeat: Duration::from_secs(20),
        }
    }
}

impl ChatConfig {
    /// Reads the section.
    pub fn from_env() -> Result<Self, ConfigError> {
        let default = Self::default();
        Ok(Self {
            questions_per_minute: at_least_one("ASSISTANT_QUESTIONS_PER_MINUTE", default.questions_per_minute)?,
            questions_burst: at_least_one("ASSISTANT_QUESTIONS_BURST", default.questions_burst)?,
            questions_per_day: at_least_one("ASSISTANT_QUESTIONS_PER_DAY", default.questions_per_day)?,
            tenant_questions_per_minute: at_least_one(
                "ASSISTANT_TENANT_QUESTIONS_PER_MINUTE",
                default.tenant_questions_per_minute,
            )?,
            sockets_per_person: at_least_one("CHAT_SOCKETS_PER_PERSON", default.sockets_per_person)?,
            sockets: at_least_one("CHAT_SOCKETS", default.sockets)?,
            heartbeat: seconds_or("CHAT_HEARTBEAT_SECONDS", default.heartbeat.as_secs())?,
        })
    }
}

fn at_least_one(variable: &'static str, default: u32) -> Result<u32, ConfigError> {
    Ok(value_or(variable, NonZeroU32::new(default).unwrap_or(NonZeroU32::MIN))?.get())
}

/// Origins, each as browsers send it, separated by commas.
pub(super) fn origins(variable: &'static str) -> Result<Vec<String>, ConfigError> {
    let origin = |text: &str| {
        let url = url::Url::parse(text).ok().filter(|url| ["http", "https"].contains(&url.scheme()));
        let written = url.map(|url| url.origin().ascii_serialization());
        // Whatever follows the host is a mistake: an origin has no path.
        written.filter(|origin| origin == &text.to_lowercase()).ok_or_else(|| ConfigError::Invalid {
            variable,
            problem: format!(
                "`{text}` is no origin; one looks like `https://app.example.com`, without a path or a final slash"
            ),
        })
    };
    list(variable)?.iter().map(|text| origin(text)).collect()
}

/// Networks, or addresses, separated by commas.
pub(super) fn networks(variable: &'static str) -> Result<Vec<IpNet>, ConfigError> {
    let network = |text: &str| {
        text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| ConfigError::Invalid {
            variable,
            problem: format!("`{text}` is neither an address nor a network such as `10.0.0.0/8`"),
        })
    };
    list(variable)?.iter().map(|text| network(text)).collect()
}

fn list(variable: &'static str) -> Result<Vec<String>, ConfigError> {
    let text = optional(variable)?.unwrap_or_default();
    Ok(text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect())
}

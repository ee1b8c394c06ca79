//! Traces: what follows from one request, command or tick, across all programs, told to an OpenTelemetry collector.
//!
//! A trace goes on by its W3C trace context: from the header of a request into its span ([`follow`]), from the span of
//! whoever enqueues into the job's row ([`trace_parent`]), and from there into the span of each attempt. Only spans and
//! their fields are exported, never log lines: what an error said is in the log, beside its `trace_id`.
//!
//! Without a collector there is no layer and no span for traces alone: [`are_exported`] is all that is asked.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use opentelemetry::{
    KeyValue,
    propagation::TextMapPropagator as _,
    trace::{TraceContextExt as _, TracerProvider as _},
};
use opentelemetry_otlp::{Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    propagation::TraceContextPropagator,
    resource::TelemetryResourceDetector,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanExporter},
};
use tokio::runtime::Handle;
use tracing::{Level, Metadata, Span, Subscriber, level_filters::LevelFilter};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};
use uuid::Uuid;

use crate::config::TracesConfig;

/// How many spans may wait for the collector; more are dropped.
const QUEUE: usize = 4096;
/// How many spans are sent at once.
const BATCH: usize = 512;
/// How long spans wait for a batch to fill.
const DELAY: Duration = Duration::from_secs(2);
/// How long the collector may take for a batch, repetitions included.
const EXPORT_WITHIN: Duration = Duration::from_secs(5);
/// How long a process that ends waits for the collector.
const FINISH_WITHIN: Duration = Duration::from_secs(2);
/// How often it is logged that spans are lost.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

const TRACE_PARENT: &str = "traceparent";

static EXPORTED: AtomicBool = AtomicBool::new(false);

/// Whether this process exports traces. Ask before making what only traces need.
pub fn are_exported() -> bool {
    EXPORTED.load(Ordering::Relaxed)
}

/// The export of a process's spans.
#[derive(Debug)]
#[must_use = "spans that wait are lost unless the export is finished"]
pub struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Sends what waits; gives up after two seconds. Spans that end later are lost.
    pub async fn finish(self) {
        let Some(provider) = self.0 else { return };
        // It blocks, and the export needs this runtime meanwhile.
        let finished = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FINISH_WITHIN)).await;
        if !matches!(finished, Ok(Ok(()))) {
            tracing::warn!("telemetry.traces.not_finished: the collector did not take the last spans in time");
        }
    }
}

/// What exports spans, as configured, and the handle that ends it. Needs a tokio runtime and an installed TLS provider.
pub fn layer<S>(
    service: &'static str,
    config: &TracesConfig,
) -> Result<(Option<impl Layer<S> + use<S>>, Traces), Box<dyn std::error::Error + Send + Sync>>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let Some(endpoint) = &config.endpoint else { return Ok((None, Traces(None))) };
    let client =
        reqwest::Client::builder().timeout(EXPORT_WITHIN).redirect(reqwest::redirect::Policy::none()).build()?;
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(endpoint.as_str())
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(EXPORT_WITHIN)
        .build()?;
    let exporter = OnRuntime { exporter: Arc::new(exporter), runtime: Handle::current(), lost: Mutex::default() };
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE)
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(DELAY)
        .build();
    let resource = Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_service_name(service)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", Uuid::now_v7().to_string()))
        .build();
    let provider = SdkTracerProvider::builder()
        .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build())
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.ratio))))
        .with_resource(resource)
        .build();
    let spans = |metadata: &Metadata<'_>| metadata.is_span() && *metadata.level() <= Level::INFO;
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("helpcenter"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_context_activation(false)
        .with_filter(filter_fn(spans).with_max_level_hint(LevelFilter::INFO));
    EXPORTED.store(true, Ordering::Relaxed);
    Ok((Some(layer), Traces(Some(provider))))
}

/// Makes a span that was not entered yet go on with the trace of a W3C `traceparent`, and fills its field `trace_id` for the
/// log. Without one, or with one that cannot be read, the span goes on with that of its parent or begins a trace.
pub fn follow(span: &Span, trace_parent: Option<&str>) {
    if !are_exported() {
        return;
    }
    if let Some(trace_parent) = trace_parent {
        let carrier = HashMap::from([(TRACE_PARENT.to_owned(), trace_parent.to_owned())]);
        let context = TraceContextPropagator::new().extract(&carrier);
        if context.span().span_context().is_valid() {
            // Refused by a span that no layer sees, which has no trace then.
            let _ = span.set_parent(context);
        }
    }
    let context = span.context();
    let context = context.span().span_context().clone();
    if context.is_valid() {
        span.record("trace_id", tracing::field::display(context.trace_id()));
    }
}

/// The W3C `traceparent` by which another process goes on with the span's trace. `None`: the span is of no trace.
pub fn trace_parent(span: &Span) -> Option<String> {
    if !are_exported() {
        return None;
    }
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&span.context(), &mut carrier);
    carrier.remove(TRACE_PARENT)
}

/// Exports on the process's runtime, which the HTTP client needs; the thread that makes the batches has none.
#[derive(Debug)]
struct OnRuntime {
    exporter: Arc<opentelemetry_otlp::SpanExporter>,
    runtime: Handle,
    lost: Mutex<Lost>,
}

/// Spans that the collector did not get since that was last logged.
#[derive(Debug, Default)]
struct Lost {
    spans: usize,
    logged_at: Option<Instant>,
}

impl SpanExporter for OnRuntime {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let (exporter, spans) = (Arc::clone(&self.exporter), batch.len());
        let export = async move { tokio::time::timeout(EXPORT_WITHIN, exporter.export(batch)).await };
        let result = match self.runtime.spawn(export).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(OTelSdkError::Timeout(EXPORT_WITHIN)),
            Err(error) => Err(OTelSdkError::InternalFailure(error.to_string())),
        };
        if let Err(error) = &result {
            self.complain(spans, error);
        }
        result
    }

    fn set_resource(&mut self, resource: &Resource) {
        if let Some(exporter) = Arc::get_mut(&mut self.exporter) {
            exporter.set_resource(resource);
        }
    }
}

impl OnRuntime {
    fn complain(&self, spans: usize, error: &OTelSdkError) {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.spans += spans;
        if lost.logged_at.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
            tracing::warn!(spans = lost.spans, %error, "telemetry.traces.not_exported");
            *lost = Lost { spans: 0, logged_at: Some(Instant::now()) };
        }
    }
}

//! Alerts to a web server: one POST of JSON each.
//!
//! In: alerts from their queue. Out: requests. What the server takes (2xx) is done; what may go better later (5xx, 408, 425, 429,
//! no answer in time, no connection) is sent again, with pauses that double, or after what `Retry-After` says; anything
//! else, redirects included, is an answer, and the alert is lost and counted. A server that takes an alert and is then silent
//! gets it again: the number of the alert and its event say that it is the same.
//!
//! Proxies of the environment are not asked. HTTPS is in builds with the feature `webhook-tls`, with Mozilla's roots or a
//! CA of one's own.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ureq::Agent;
use ureq::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use ureq::http::uri::{Scheme, Uri};

use crate::alert_queue::{AlertMessage, AlertReceiver, Deliver, Delivery, Retries, deliver_all};
use crate::sink_counters::{DropCause, SinkMeter};

/// Where alerts go.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSettings {
    /// `http://host:port/path`, or `https` in builds with the feature `webhook-tls`.
    pub url: String,
    /// Further headers: `Authorization`. They are secret, and shown nowhere.
    pub headers: Vec<(String, String)>,
    /// A CA's certificates in PEM, in the place of Mozilla's roots. For HTTPS.
    pub ca_pem: Option<Vec<u8>>,
    /// How long a request may take, its answer included.
    pub timeout: Duration,
    /// Alerts with a longer JSON are dropped and counted.
    pub max_bytes: usize,
    /// When a failed attempt is followed by another.
    pub retries: Retries,
}

impl WebhookSettings {
    /// Settings with defaults: 5 seconds, 1 MiB, six attempts within a quarter of a minute.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            headers: Vec::new(),
            ca_pem: None,
            timeout: Duration::from_secs(5),
            max_bytes: 1 << 20,
            retries: Retries {
                attempts: Some(6),
                first_pause: Duration::from_millis(500),
                longest_pause: Duration::from_secs(30),
                stop_grace: Duration::from_secs(2),
            },
        }
    }
}

/// Settings that no request can be made of.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The URL is none, or has no host.
    #[error("{url:?} is no URL for a webhook (http://host:port/path)")]
    Url {
        /// As given, without user and password.
        url: String,
    },
    /// This build has no TLS.
    #[error("https is not in this build (feature \"webhook-tls\")")]
    HttpsNotBuilt,
    /// A header cannot be sent.
    #[error("header {name:?} cannot be sent")]
    Header {
        /// Its name.
        name: String,
    },
    /// The CA's certificates cannot be read, or there are none.
    #[error("the CA of the webhook is not PEM with certificates")]
    Ca,
}

/// Posts alerts.
pub struct Webhook {
    agent: Agent,
    uri: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Scheme, host and port, for the log: the path may hold a token.
    server: String,
    max_bytes: usize,
    retries: Retries,
    meter: SinkMeter,
}

impl Webhook {
    /// A client; it connects with its first alert. `meter` is that of its queue.
    ///
    /// # Errors
    ///
    /// [`WebhookError`].
    pub fn new(settings: &WebhookSettings, meter: SinkMeter) -> Result<Self, WebhookError> {
        let bad_url = || WebhookError::Url { url: without_secrets(&settings.url) };
        let uri: Uri = settings.url.parse().map_err(|_| bad_url())?;
        let scheme = uri.scheme().ok_or_else(bad_url)?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(bad_url)?;
        let tls = *scheme == Scheme::HTTPS;
        if !tls && *scheme != Scheme::HTTP {
            return Err(bad_url());
        }
        if tls && cfg!(not(feature = "webhook-tls")) {
            return Err(WebhookError::HttpsNotBuilt);
        }
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let server = format!("{scheme}://{host}:{port}");
        let headers = settings.headers.iter().map(|(name, value)| {
            let bad_header = || WebhookError::Header { name: name.clone() };
            let mut value = HeaderValue::from_str(value).map_err(|_| bad_header())?;
            value.set_sensitive(true);
            Ok((HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad_header())?, value))
        });
        let headers = headers.collect::<Result<_, WebhookError>>()?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("tapline/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(settings.timeout))
            .max_idle_connections(1);
        #[cfg(feature = "webhook-tls")]
        let config = config.tls_config(tls_config(settings)?);
        Ok(Self {
            agent: config.build().into(),
            uri,
            headers,
            server,
            max_bytes: settings.max_bytes,
            retries: settings.retries,
            meter,
        })
    }

    /// Posts what comes until `stop` is set or all senders are gone.
    pub fn run(mut self, alerts: &AlertReceiver, stop: &AtomicBool) {
        let (retries, meter) = (self.retries, self.meter.clone());
        deliver_all(&mut self, &retries, &meter, alerts, stop);
    }

    /// The status, and how long to wait if the server says so.
    fn post(&self, json: &str) -> Result<(u16, Option<Duration>), ureq::Error> {
        let mut request = self.agent.post(&self.uri).header(CONTENT_TYPE, "application/json");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let mut response = request.send(json)?;
        let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        // Read to its end, so that the connection can be used again. The status is what counts.
        let _ = response.body_mut().with_config().limit(ANSWER_BYTES).read_to_vec();
        Ok((response.status().as_u16(), after.map(Duration::from_secs)))
    }
}

impl Deliver for Webhook {
    fn deliver(&mut self, alert: &AlertMessage) -> Delivery {
        let told = |what: &dyn fmt::Display| format!("posting to {}: {what}", self.server);
        if alert.json.len() > self.max_bytes {
            let error = told(&format_args!("{} bytes are too long", alert.json.len()));
            return Delivery::Lost { cause: DropCause::TooLong, error };
        }
        match self.post(&alert.json) {
            Ok((200..=299, _)) => Delivery::Done { bytes: alert.json.len() as u64 },
            Ok((status @ (408 | 425 | 429 | 500..=599), after)) => Delivery::Later {
                cause: DropCause::Refused,
                after,
                error: told(&format_args!("status {status}")),
            },
            Ok((status, _)) => {
                Delivery::Lost { cause: DropCause::Refused, error: told(&format_args!("status {status}")) }
            }
            Err(error) => {
                let cause = match error {
                    ureq::Error::Timeout(_) => DropCause::TimedOut,
                    _ => DropCause::Unreachable,
                };
                Delivery::Later { cause, after: None, error: told(&error) }
            }
        }
    }
}

#[cfg(feature = "webhook-tls")]
fn tls_config(settings: &WebhookSettings) -> Result<ureq::tls::TlsConfig, WebhookError> {
    use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

    let roots = match &settings.ca_pem {
        None => RootCerts::WebPki,
        Some(pem) => {
            let items = parse_pem(pem).collect::<Result<Vec<_>, _>>().map_err(|_| WebhookError::Ca)?;
            let certificates: Vec<_> = items
                .into_iter()
                .filter_map(|item| match item {
                    PemItem::Certificate(certificate) => Some(certificate),
                    _ => None,
                })
                .collect();
            if certificates.is_empty() {
                return Err(WebhookError::Ca);
            }
            RootCerts::from(certificates)
        }
    };
    Ok(TlsConfig::builder().root_certs(roots).build())
}

/// Without user and password.
fn without_secrets(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        _ => url.to_owned(),
    }
}

impl fmt::Debug for WebhookSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("WebhookSettings")
            .field("url", &without_secrets(&self.url))
            .field("headers", &names)
            .field("timeout", &self.timeout)
            .field("max_bytes", &self.max_bytes)
            .field("retries", &self.retries)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("server", &self.server).finish_non_exhaustive()
    }
}

/// As much of an answer is read.
const ANSWER_BYTES: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(settings: &WebhookSettings) -> String {
        Webhook::new(settings, SinkMeter::new()).unwrap_err().to_string()
    }

    #[test]
    fn settings_are_checked_at_the_start() {
        for url in ["", "example.org", "/path", "ftp://example.org/", "http://", "http://a b/"] {
            assert!(refused(&WebhookSettings::new(url)).contains("is no URL for a webhook"), "{url}");
        }
        assert!(!refused(&WebhookSettings::new("ftp://me:secret@example.org/")).contains("secret"));
        let mut settings = WebhookSettings::new("http://example.org/token");
        settings.headers.push(("Authorization".to_owned(), "Bearer secret\n".to_owned()));
        assert_eq!(refused(&settings), "header \"Authorization\" cannot be sent");
        assert!(!format!("{settings:?}").contains("secret"));
    }

    #[cfg(not(feature = "webhook-tls"))]
    #[test]
    fn https_is_not_built() {
        let settings = WebhookSettings::new("https://example.org/");
        assert_eq!(refused(&settings), "https is not in this build (feature \"webhook-tls\")");
    }

    #[cfg(feature = "webhook-tls")]
    #[test]
    fn a_ca_must_be_one() {
        let mut settings = WebhookSettings::new("https://example.org/");
        assert!(Webhook::new(&settings, SinkMeter::new()).is_ok());
        settings.ca_pem = Some(b"not PEM".to_vec());
        assert_eq!(refused(&settings), "the CA of the webhook is not PEM with certificates");
    }
}

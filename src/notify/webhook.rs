//! Webhooks: the document is posted, as it is or in the form that a service wants.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, StatusCode};
use serde_json::json;

use super::file::document;
use super::{Notifier, NotifyError, Parcel, Sending, secret};
use crate::model::archive::hex;
use crate::model::channel::safe_url;
use crate::model::problem::causes;
use crate::model::{Document, Preset, Severity, WebhookSpec};

const DEADLINE: Duration = Duration::from_secs(20);

/// The longest text that goes into a chat, in characters.
const CHAT: usize = 3000;

/// The longest text that goes to a telephone, in characters.
const SHORT: usize = 300;

/// The header with the signature: `sha256=` and HMAC-SHA256 (RFC 2104) of the body, hexadecimal, as GitHub has it.
const SIGNATURE: &str = "X-Logkeeper-Signature";

/// The notifier.
pub struct Webhook {
    client: Client,
    url: String,
    secret: Option<String>,
    spec: WebhookSpec,
}

/// What is posted.
struct Post {
    body: String,
    content_type: String,
    headers: Vec<(&'static str, String)>,
}

impl Webhook {
    /// For this address.
    ///
    /// # Errors
    /// Says which file can't be read or which certificate can't be used.
    pub fn new(spec: &WebhookSpec) -> Result<Self, NotifyError> {
        let url = secret::text(&spec.url)?;
        safe_url(&url).map_err(|problem| NotifyError::Refused(format!("the webhook's address: {problem}")))?;
        let secret = spec.secret_file.as_deref().map(secret::first_line).transpose()?;
        // That another part of the program was faster is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Whoever moved has to say so to the administrator, not to us.
        let mut builder = Client::builder().timeout(DEADLINE).user_agent("logkeeper").redirect(Policy::none());
        if let Some(path) = &spec.ca_file {
            let certificates = Certificate::from_pem_bundle(&secret::read(path)?)
                .map_err(|error| NotifyError::Refused(format!("{}: {}", path.display(), causes(&error))))?;
            builder = builder.tls_certs_merge(certificates);
        }
        let client = builder.build().map_err(|error| NotifyError::Refused(causes(&error)))?;
        Ok(Self { client, url, secret, spec: spec.clone() })
    }

    fn post(&self, document: &Document, raw: &[u8]) -> Post {
        let json = |body: String, headers| Post { body, content_type: "application/json".to_owned(), headers };
        let title = format!("[{}] {}", document.host, document.title);
        match self.spec.preset {
            Preset::Json => {
                let body = String::from_utf8_lossy(raw).into_owned();
                let signed = self.secret.as_ref().map(|secret| (SIGNATURE, signature(secret, body.as_bytes())));
                json(body, signed.into_iter().collect())
            }
            Preset::Slack => json(json!({ "text": slack_text(document) }).to_string(), Vec::new()),
            Preset::Ntfy => {
                let mut headers = vec![
                    ("Title", ascii(&title)),
                    ("Priority", priority(document.severity).to_string()),
                    ("Tags", document.kind.as_str().to_owned()),
                ];
                headers.extend(self.secret.as_ref().map(|token| ("Authorization", format!("Bearer {token}"))));
                let body = shortened(&sentences(document), CHAT);
                Post { body, content_type: "text/plain; charset=utf-8".to_owned(), headers }
            }
            Preset::PagerDuty => json(self.pager_duty(document, &title), Vec::new()),
            Preset::Template => {
                let template = self.spec.template.as_deref().unwrap_or_default();
                let body = filled(template, document, &self.spec.content_type, self.secret.as_deref());
                let signed = self.secret.as_ref().map(|secret| (SIGNATURE, signature(secret, body.as_bytes())));
                Post { body, content_type: self.spec.content_type.clone(), headers: signed.into_iter().collect() }
            }
        }
    }

    /// An event of version 2: <https://developer.pagerduty.com/docs/send-alert-event>.
    fn pager_duty(&self, document: &Document, title: &str) -> String {
        let severity = match document.severity {
            Severity::Critical => "critical",
            Severity::High => "error",
            Severity::Medium => "warning",
            Severity::Low => "info",
        };
        json!({
            "routing_key": self.secret,
            "event_action": "trigger",
            "dedup_key": document.id,
            "payload": {
                "summary": shortened(title, 1000),
                "source": document.host,
                "severity": severity,
                "timestamp": document.at,
                "class": document.kind,
                "custom_details": { "text": shortened(&document.text, CHAT), "items": document.items },
            },
        })
        .to_string()
    }
}

impl Notifier for Webhook {
    fn send<'a>(&'a self, parcel: &'a Parcel) -> Sending<'a> {
        Box::pin(async move {
            let Post { body, content_type, headers } = self.post(&document(parcel)?, &parcel.body);
            let mut request = self.client.post(&self.url).header("Content-Type", content_type).body(body);
            for (name, value) in headers {
                request = request.header(name, value);
            }
            // Whoever knows the address can post there, so it doesn't belong into a log.
            let answer = request.send().await.map_err(reqwest::Error::without_url);
            let status = match answer {
                Ok(answer) => answer.status(),
                Err(error) => {
                    return Err(NotifyError::Down(format!("the webhook can't be reached: {}", causes(&error))));
                }
            };
            let text = format!("the webhook answered {status}");
            match status {
                status if status.is_success() => Ok(()),
                // PagerDuty says so also of a wrong key.
                StatusCode::BAD_REQUEST if self.spec.preset == Preset::PagerDuty => Err(NotifyError::Broken(text)),
                StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
                    Err(NotifyError::Never(text))
                }
                StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Err(NotifyError::Down(text)),
                // It may be about this message only.
                status if status.is_server_error() => Err(NotifyError::Broken(text)),
                _ => Err(NotifyError::Refused(text)),
            }
        })
    }
}

fn signature(secret: &str, body: &[u8]) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    format!("sha256={}", hex(ring::hmac::sign(&key, body).as_ref()))
}

/// From 2 to 5, as ntfy counts.
fn priority(severity: Severity) -> u8 {
    match severity {
        Severity::Critical => 5,
        Severity::High => 4,
        Severity::Medium => 3,
        Severity::Low => 2,
    }
}

/// The things it tells of, a line each.
fn sentences(document: &Document) -> String {
    if document.items.is_empty() {
        return document.text.clone();
    }
    let mut lines: Vec<String> = document
        .items
        .iter()
        .map(|item| format!("{}: {}", item.severity.as_str().to_uppercase(), item.sentence))
        .collect();
    if document.more_items > 0 {
        lines.push(format!("And {} more.", document.more_items));
    }
    lines.join("\n")
}

/// In Slack's notation these three characters make links and mentions: <https://docs.slack.dev/messaging/formatting-message-text>.
fn slack_text(document: &Document) -> String {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    // What may be bold, or code, in a log's words is neither.
    let plain = |text: &str| escape(text).replace(['*', '_', '~', '`'], "\u{b7}");
    let title = plain(&format!("[{}] {}", document.host, document.title));
    format!("*{title}*\n{}", plain(&shortened(&sentences(document), CHAT)))
}

fn shortened(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    let head: String = text.chars().take(longest - 1).collect();
    format!("{head}\u{2026}")
}

/// For a header.
fn ascii(text: &str) -> String {
    crate::model::untrusted::header(text)
}

/// A template with its words in braces replaced, each made safe for where it stands.
fn filled(template: &str, document: &Document, content_type: &str, secret: Option<&str>) -> String {
    let safe = |text: &str| match content_type {
        "application/json" => {
            let quoted = json!(text).to_string();
            quoted[1..quoted.len() - 1].to_owned()
        }
        "application/x-www-form-urlencoded" => {
            let bytes = text.bytes().map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
                byte => format!("%{byte:02X}"),
            });
            bytes.collect()
        }
        _ => text.to_owned(),
    };
    let short = shortened(&format!("[{}] {}. {}", document.host, document.title, sentences(document)), SHORT);
    let words = [
        ("{title}", document.title.clone()),
        ("{host}", document.host.clone()),
        ("{severity}", document.severity.to_string()),
        ("{kind}", document.kind.to_string()),
        ("{id}", document.id.clone()),
        ("{at}", document.at.to_rfc3339()),
        ("{short}", short),
        ("{text}", shortened(&document.text, CHAT)),
        ("{secret}", secret.unwrap_or_default().to_owned()),
    ];
    // One pass: what a log says in braces stays as it is.
    let (mut out, mut rest) = (String::new(), template);
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        match words.iter().find(|(word, _)| rest.starts_with(word)) {
            Some((word, value)) => {
                out.push_str(&safe(value));
                rest = &rest[word.len()..];
            }
            None => {
                out.push('{');
                rest = &rest[1..];
            }
        }
    }
    out + rest
}

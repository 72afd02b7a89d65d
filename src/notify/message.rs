//! Freezing a mail: from what it says to the bytes that go over the wire.

use chrono::{DateTime, Utc};
use lettre::Message;
use lettre::address::Envelope;
use lettre::message::header::{ContentDisposition, ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Body, Mailbox, MultiPart, MultiPartKind, SinglePart};

use crate::model::{self, Mail, untrusted};

/// Makes the bytes of a mail. Its Message-ID, its date and its boundaries follow from what it is about and when it was made, so that equal
/// mails are equal bytes, and a mail that has to be sent again is recognised as the same.
///
/// # Errors
/// Says which address or header can't be used.
pub fn freeze(mail: &Mail, from: &str, to: &[String], now: DateTime<Utc>) -> Result<Vec<u8>, String> {
    let from: Mailbox = from.parse().map_err(|error| format!("sender {from:?}: {error}"))?;
    let id = &crate::digest::sha256(mail.key.as_bytes())[..32];
    let message_id = format!("<{id}@{}>", from.email.domain());
    // The envelope is made anew for each delivery; this one only says that there may be no recipient at all.
    let envelope =
        Envelope::new(Some(from.email.clone()), vec![from.email.clone()]).map_err(|error| error.to_string())?;
    let mut builder = Message::builder()
        .envelope(envelope)
        .from(from)
        .date(std::time::SystemTime::from(now))
        .message_id(Some(message_id))
        .subject(untrusted::header(&mail.subject));
    for address in to {
        builder = builder.to(address.parse().map_err(|error| format!("recipient {address:?}: {error}"))?);
    }
    for (name, value) in [("Auto-Submitted", "auto-generated"), ("X-Auto-Response-Suppress", "All")] {
        builder = builder.raw_header(HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned()));
    }
    let multipart = |kind, name: &str| MultiPart::builder().kind(kind).boundary(format!("{name}-{id}"));
    let mut related = multipart(MultiPartKind::Related, "related").singlepart(part(ContentType::TEXT_HTML, &mail.html));
    for image in &mail.images {
        // "image/png" is a content type.
        let Ok(png) = ContentType::parse("image/png") else { continue };
        related = related.singlepart(Attachment::new_inline(image.name.clone()).body(image.png.clone(), png));
    }
    let alternative = multipart(MultiPartKind::Alternative, "alternative")
        .singlepart(part(ContentType::TEXT_PLAIN, &mail.text))
        .multipart(related);
    let content = if mail.attachments.is_empty() {
        alternative
    } else {
        let mixed = multipart(MultiPartKind::Mixed, "mixed").multipart(alternative);
        mail.attachments.iter().fold(mixed, |mixed, attachment| mixed.singlepart(table(attachment)))
    };
    let message = builder.multipart(content).map_err(|error| error.to_string())?;
    Ok(message.formatted())
}

/// A table as a file.
fn table(attachment: &model::Attachment) -> SinglePart {
    SinglePart::builder()
        .header(ContentType::parse("text/csv; charset=utf-8").unwrap_or(ContentType::TEXT_PLAIN))
        .header(ContentDisposition::attachment(&attachment.name))
        .body(quoted(&attachment.csv))
}

/// A text in quoted-printable: whatever it holds, no line on the wire is long or ends in anything but CR LF.
/// (lettre's dot-stuffing relies on that: RUSTSEC-2026-0561.)
fn part(kind: ContentType, text: &str) -> SinglePart {
    SinglePart::builder().header(kind).body(quoted(text))
}

fn quoted(text: &str) -> Body {
    let clean = text.replace('\r', "");
    Body::new_with_encoding(clean, ContentTransferEncoding::QuotedPrintable).unwrap_or_else(Body::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hostile() -> Mail {
        let nasty = format!("a\n.\nb\r.\r\n..\n~!\n{}\n", "x".repeat(5000));
        Mail {
            subject: "x\r\nBcc: evil@example.org".into(),
            text: nasty.clone(),
            html: nasty,
            images: vec![],
            attachments: vec![model::Attachment { name: "a\r\nX: y.csv".into(), csv: "a,b\n.\n".into() }],
            key: "k".into(),
        }
    }

    #[test]
    fn nothing_in_a_mail_breaks_its_lines() {
        let now = "2026-11-20T12:00:00Z".parse().unwrap();
        let bytes = freeze(&hostile(), "logkeeper@example.org", &["Admin <admin@example.org>".into()], now).unwrap();
        let mut previous = 0;
        for line in bytes.split(|b| *b == b'\n') {
            assert!(line.len() <= 998);
        }
        for (index, byte) in bytes.iter().enumerate() {
            assert!(*byte != b'\n' || previous == b'\r', "bare LF at {index}");
            assert!(previous != b'\r' || *byte == b'\n', "bare CR at {index}");
            previous = *byte;
        }
        let text = String::from_utf8(bytes).unwrap();
        assert!(!text.contains("\r\nBcc:") && !text.contains("\r\nX: y"), "{text}");
    }

    #[test]
    fn the_message_id_depends_on_the_key_alone() {
        let now: DateTime<Utc> = "2026-11-20T12:00:00Z".parse().unwrap();
        let id = |mail: &Mail, now| {
            let bytes = freeze(mail, "logkeeper@example.org", &[], now).unwrap();
            let text = String::from_utf8(bytes).unwrap();
            text.lines().find(|line| line.starts_with("Message-ID")).unwrap().to_owned()
        };
        let other = Mail { text: "other".into(), ..hostile() };
        assert_eq!(id(&hostile(), now), id(&other, now + chrono::TimeDelta::hours(1)));
        assert!(id(&hostile(), now).ends_with("@example.org>"));
        assert_ne!(id(&hostile(), now), id(&Mail { key: "l".into(), ..hostile() }, now));
        let bytes = |mail| freeze(&mail, "logkeeper@example.org", &[], now).unwrap();
        assert_eq!(bytes(hostile()), bytes(hostile()), "boundaries are fixed");
    }
}

//! SMTP through lettre: STARTTLS or TLS, with login. Nothing falls back to plain text.

use std::time::Duration;

use lettre::address::Envelope;
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls as Mode, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use super::{Notifier, NotifyError, Sending};
use crate::model::{SmtpSpec, Tls};

/// The longest a whole delivery may take; lettre's own limit covers connecting only.
const DEADLINE: Duration = Duration::from_secs(60);

/// The notifier.
pub struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    server: String,
}

impl Smtp {
    /// For this server.
    ///
    /// # Errors
    /// Says which file can't be read or which certificate can't be used.
    pub fn new(spec: &SmtpSpec, from: &str) -> Result<Self, NotifyError> {
        let later = |error: String| NotifyError::Later(error);
        let tls = || -> Result<TlsParameters, NotifyError> {
            let mut builder = TlsParameters::builder(spec.host.clone());
            if let Some(path) = &spec.ca_file {
                let pem =
                    std::fs::read(path).map_err(|error| later(format!("can't read {}: {error}", path.display())))?;
                let certificate =
                    Certificate::from_pem(&pem).map_err(|error| later(format!("{}: {error}", path.display())))?;
                builder = builder.add_root_certificate(certificate);
            }
            builder.build().map_err(|error| later(format!("TLS: {error}")))
        };
        let mode = match spec.tls {
            Tls::Starttls => Mode::Required(tls()?),
            Tls::Implicit => Mode::Wrapper(tls()?),
            Tls::None => Mode::None,
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&spec.host)
            .port(spec.port)
            .tls(mode)
            .timeout(Some(Duration::from_secs(20)));
        if let (Some(user), Some(path)) = (&spec.user, &spec.password_file) {
            let secret = std::fs::read_to_string(path)
                .map_err(|error| later(format!("can't read {}: {error}", path.display())))?;
            let password = secret.lines().next().unwrap_or_default().to_owned();
            builder = builder.credentials(Credentials::new(user.clone(), password));
        }
        let from = from.parse().map_err(|error| later(format!("sender {from:?}: {error}")))?;
        Ok(Self { transport: builder.build(), from, server: format!("{}:{}", spec.host, spec.port) })
    }
}

impl Notifier for Smtp {
    fn send<'a>(&'a self, _name: &'a str, recipient: &'a str, mime: &'a [u8]) -> Sending<'a> {
        Box::pin(async move {
            let to: Mailbox =
                recipient.parse().map_err(|error| NotifyError::Never(format!("{recipient:?}: {error}")))?;
            let envelope = Envelope::new(Some(self.from.email.clone()), vec![to.email]);
            let envelope = envelope.map_err(|error| NotifyError::Never(error.to_string()))?;
            match tokio::time::timeout(DEADLINE, self.transport.send_raw(&envelope, mime)).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(self.classified(&error)),
                Err(_) => {
                    Err(NotifyError::Later(format!("{} did not answer within {} s", self.server, DEADLINE.as_secs())))
                }
            }
        })
    }
}

impl Smtp {
    /// A refusal of this message or recipient is final; one of the login or the connection is the server's
    /// or the configuration's and may be mended.
    fn classified(&self, error: &lettre::transport::smtp::Error) -> NotifyError {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
        let text = format!("{}: {error}{cause}", self.server);
        let code = error.status().map(u16::from);
        let about_login = code.is_some_and(|code| (530..540).contains(&code));
        if error.is_permanent() && !about_login { NotifyError::Never(text) } else { NotifyError::Later(text) }
    }
}

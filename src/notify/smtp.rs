//! SMTP over lettre's connection (RFC 5321): STARTTLS or TLS, with login. Nothing falls back to plain text.
//!
//! Each step has a deadline of its own, and says by itself what its failure means: for this recipient, or for all.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use lettre::Address;
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::ClientId;
use tokio::sync::Mutex;

use super::{Notifier, NotifyError, Parcel, Sending, secret};
use crate::model::problem::causes;
use crate::model::{SmtpSpec, Tls};

/// How long the server may take over the whole message, in its usual deadlines: it may look for viruses in it.
const MESSAGE: u32 = 4;

/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// The notifier: one connection for all that is sent in a row.
pub struct Smtp {
    spec: SmtpSpec,
    tls: Option<TlsParameters>,
    credentials: Option<Credentials>,
    from: Mailbox,
    connection: Mutex<Option<AsyncSmtpConnection>>,
}

impl Smtp {
    /// For this server.
    ///
    /// # Errors
    /// Says which file can't be read or which certificate can't be used.
    pub fn new(spec: &SmtpSpec, from: &str) -> Result<Self, NotifyError> {
        let from = from.parse().map_err(|error| NotifyError::Refused(format!("sender {from:?}: {error}")))?;
        let credentials = match (&spec.user, &spec.password_file) {
            (Some(user), Some(path)) => Some(Credentials::new(user.clone(), secret::first_line(path)?)),
            _ => None,
        };
        let tls = if spec.tls == Tls::None { None } else { Some(tls_parameters(spec)?) };
        Ok(Self { spec: spec.clone(), tls, credentials, from, connection: Mutex::new(None) })
    }

    /// A connection that is ready for a message.
    async fn connect(&self) -> Result<AsyncSmtpConnection, NotifyError> {
        let hello = ClientId::default();
        let server = (self.spec.host.as_str(), self.spec.port);
        let wrapper = self.tls.clone().filter(|_| self.spec.tls == Tls::Implicit);
        // A name may have several addresses, and the first be out of reach.
        let each = self.spec.timeout / 3;
        let connecting = AsyncSmtpConnection::connect_tokio1(server, Some(each), &hello, wrapper, None);
        let mut connection = self.step("to connect", 1, connecting, Scope::Channel).await?;
        if let Some(tls) = self.tls.clone().filter(|_| self.spec.tls == Tls::Starttls) {
            if !connection.can_starttls() {
                let text = format!("{} does not offer STARTTLS, and mail never goes in plain text", self.place());
                return Err(NotifyError::Refused(text));
            }
            self.step("STARTTLS", 1, connection.starttls(tls, &hello), Scope::Channel).await?;
        }
        if let Some(credentials) = &self.credentials {
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            self.step("to the login", 1, connection.auth(&mechanisms, credentials), Scope::Channel).await?;
        }
        Ok(connection)
    }

    async fn deliver(&self, connection: &mut AsyncSmtpConnection, to: Address, mime: &[u8]) -> Result<(), NotifyError> {
        let mail = Mail::new(Some(self.from.email.clone()), Vec::new());
        self.step("MAIL", 1, connection.command(mail), Scope::Channel).await?;
        self.step("RCPT", 1, connection.command(Rcpt::new(to, Vec::new())), Scope::Recipient).await?;
        self.step("DATA", 1, connection.command(Data), Scope::Recipient).await?;
        self.step("the message", MESSAGE, connection.message(mime), Scope::Recipient).await.map(drop)
    }

    /// Waits for a step, and says what its failure means.
    async fn step<T>(
        &self,
        what: &str,
        deadlines: u32,
        step: impl Future<Output = Result<T, lettre::transport::smtp::Error>>,
        scope: Scope,
    ) -> Result<T, NotifyError> {
        let deadline = self.spec.timeout * deadlines;
        match tokio::time::timeout(deadline, step).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => {
                let text = format!("{}, in answer to {what}: {}", self.place(), causes(&error));
                Err(match scope {
                    _ if error.is_tls() || is_certificate(&error) => NotifyError::Refused(text),
                    Scope::Channel if error.is_permanent() || error.is_client() => NotifyError::Refused(text),
                    Scope::Recipient if error.is_permanent() => NotifyError::Never(text),
                    Scope::Recipient if error.is_transient() => NotifyError::Later(text),
                    Scope::Recipient => NotifyError::Broken(text),
                    Scope::Channel => NotifyError::Down(text),
                })
            }
            Err(_) => {
                let text = format!("{} did not answer {what} within {} s", self.place(), deadline.as_secs());
                Err(match scope {
                    Scope::Recipient => NotifyError::Broken(text),
                    Scope::Channel => NotifyError::Down(text),
                })
            }
        }
    }

    fn place(&self) -> String {
        format!("{}:{}", self.spec.host, self.spec.port)
    }
}

/// Whom the failure of a step concerns.
#[derive(Clone, Copy)]
enum Scope {
    Channel,
    Recipient,
}

impl Notifier for Smtp {
    fn send<'a>(&'a self, parcel: &'a Parcel) -> Sending<'a> {
        Box::pin(async move {
            let to: Mailbox = (parcel.recipient.parse())
                .map_err(|error| NotifyError::Never(format!("{:?}: {error}", parcel.recipient)))?;
            let mut held = self.connection.lock().await;
            let kept = held.take();
            let is_old = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            let mut sent = self.deliver(&mut connection, to.email.clone(), &parcel.body).await;
            // A server may end a connection after so many messages; nothing of this one was said yet.
            if is_old && matches!(sent, Err(NotifyError::Down(_))) {
                connection = self.connect().await?;
                sent = self.deliver(&mut connection, to.email, &parcel.body).await;
            }
            let usable = match &sent {
                Ok(()) => true,
                Err(NotifyError::Never(_) | NotifyError::Later(_)) => {
                    tokio::time::timeout(self.spec.timeout, connection.command(Rset)).await.is_ok_and(|r| r.is_ok())
                }
                Err(_) => false,
            };
            if usable && !connection.has_broken() {
                *held = Some(connection);
            }
            sent
        })
    }

    fn finish<'a>(&'a self) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            if let Some(mut connection) = self.connection.lock().await.take() {
                // All is delivered; that the server doesn't say goodbye changes nothing.
                let _ = tokio::time::timeout(FAREWELL, connection.quit()).await;
            }
        })
    }
}

fn tls_parameters(spec: &SmtpSpec) -> Result<TlsParameters, NotifyError> {
    let mut builder = TlsParameters::builder(spec.host.clone());
    if let Some(path) = &spec.ca_file {
        let pem = secret::read(path)?;
        let certificate = Certificate::from_pem(&pem)
            .map_err(|error| NotifyError::Refused(format!("{}: {error}", path.display())))?;
        builder = builder.add_root_certificate(certificate);
    }
    builder.build().map_err(|error| NotifyError::Refused(format!("TLS: {error}")))
}

/// Whether the server's certificate is not one to trust; lettre calls that an error of the network.
fn is_certificate(error: &lettre::transport::smtp::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            return matches!(inner, Some(rustls::Error::InvalidCertificate(_)));
        }
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return matches!(error, rustls::Error::InvalidCertificate(_));
        }
        cause = error.source();
    }
    false
}

//! Where the database is.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use mysql::{Opts, OptsBuilder};

use super::{SetupError, Timeouts, tls};

/// Where the database is, and who we are there. Shows itself without the password.
#[derive(Clone)]
pub struct DatabaseUrl(String);

impl FromStr for DatabaseUrl {
    // An error here would be shown together with the value, password and all. `options` refuses instead.
    type Err = Infallible;

    fn from_str(url: &str) -> Result<Self, Infallible> {
        Ok(Self(url.to_owned()))
    }
}

impl DatabaseUrl {
    pub(super) fn options(&self, timeouts: Timeouts) -> Result<Opts, SetupError> {
        let (url, tls) = tls::take_options(&self.0).map_err(SetupError::Url)?;
        tls.as_ref()
            .map_or(Ok(()), tls::check_files)
            .map_err(SetupError::Url)?;
        let options = Opts::from_url(&url).map_err(|error| SetupError::Url(error.to_string()))?;
        if options.get_db_name().is_none_or(str::is_empty) {
            return Err(SetupError::Url(
                "it names no database; add one, as in …:3306/dummy_messenger".to_owned(),
            ));
        }
        Ok(OptsBuilder::from_opts(options)
            // What the server says of its socket's path need not be true on this machine.
            .prefer_socket(false)
            .ssl_opts(tls)
            .tcp_connect_timeout(Some(timeouts.connect))
            .read_timeout(Some(timeouts.answer))
            .write_timeout(Some(timeouts.answer))
            .into())
    }
}

impl DatabaseUrl {
    pub(super) fn asks_for_tls(&self) -> bool {
        tls::take_options(&self.0).is_ok_and(|(_, options)| options.is_some())
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(options) = tls::take_options(&self.0)
            .and_then(|(url, _)| Opts::from_url(&url).map_err(|error| error.to_string()))
        else {
            return write!(to, "(not a URL)");
        };
        let user = options.get_user().unwrap_or_default();
        let password = if options.get_pass().is_some() {
            ":***"
        } else {
            ""
        };
        let database = options.get_db_name().unwrap_or_default();
        let host = options.get_ip_or_hostname();
        match options.get_socket() {
            Some(socket) => write!(
                to,
                "mysql://{user}{password}@{host}/{database}?socket={socket}"
            ),
            None => write!(
                to,
                "mysql://{user}{password}@{host}:{}/{database}",
                options.get_tcp_port()
            ),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, to)
    }
}

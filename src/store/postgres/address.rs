//! Where the database is: `postgres://user:password@host:port/database?sslmode=…`, as libpq reads it.
//!
//! Only parameters that we know are let through: sqlx would log the value of one that it does not know, and a
//! mistyped `pasword=` must not end up in a log. Two of libpq's TLS modes are refused, because they would promise
//! more than they hold here: `allow` never encrypts, and `verify-ca` would take any certificate of a public
//! authority beside those of `sslrootcert`. `verify-full` checks the name as well.

use std::str::FromStr as _;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

/// Parameters that may stand behind the `?`.
const PARAMETERS: &[&str] =
    &["sslmode", "sslrootcert", "sslcert", "sslkey", "host", "port", "dbname", "user", "password"];

/// Those that name files.
const FILES: &[&str] = &["sslrootcert", "sslcert", "sslkey"];

/// Whether a url names a PostgreSQL database.
pub(in crate::store) fn is_postgres(url: &str) -> bool {
    ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme))
}

/// Whether a url holds a password.
pub(in crate::store) fn carries_password(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| {
        url.password().is_some() || url.query_pairs().any(|(key, _)| key.eq_ignore_ascii_case("password"))
    })
}

/// Reads a url.
///
/// # Errors
/// What is wrong with it. The message does not repeat the value.
pub(in crate::store) fn parse(url: &str) -> Result<PgConnectOptions, String> {
    const FORM: &str =
        "must be `postgres://user@host:port/database`, with special characters percent-encoded";
    let parsed = Url::parse(url).map_err(|_| FORM.to_owned())?;
    if !is_postgres(url) {
        return Err(FORM.to_owned());
    }
    let mut root_certificate = false;
    for (key, value) in parsed.query_pairs() {
        if !PARAMETERS.contains(&&*key) {
            return Err(format!("has a parameter that is not known; known are {}", PARAMETERS.join(", ")));
        }
        root_certificate |= key == "sslrootcert";
        if key == "sslmode" && !["disable", "prefer", "require", "verify-full"].contains(&&*value) {
            return Err("has an `sslmode` other than disable, prefer, require or verify-full".to_owned());
        }
    }
    // Its words may repeat parts of the url.
    let options = PgConnectOptions::from_str(url).map_err(|_| FORM.to_owned())?;
    if options.get_database().is_none_or(str::is_empty) {
        return Err("must name the database after the host: `postgres://user@host:port/database`".to_owned());
    }
    if root_certificate && !matches!(options.get_ssl_mode(), PgSslMode::VerifyFull) {
        return Err("has an `sslrootcert`, which only `sslmode=verify-full` uses".to_owned());
    }
    for (key, file) in parsed.query_pairs().filter(|(key, _)| FILES.contains(&&**key)) {
        if let Err(error) = std::fs::File::open(&*file) {
            return Err(format!("has an `{key}` that cannot be read: {error}"));
        }
    }
    Ok(options.application_name("drydock").disable_statement_logging())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_as_libpq_does() {
        let options = parse("postgresql://dock:p%40ss@db.example:6432/jobs?sslmode=verify-full").unwrap();
        assert_eq!(options.get_host(), "db.example");
        assert_eq!(options.get_port(), 6432);
        assert_eq!(options.get_username(), "dock");
        assert_eq!(options.get_database(), Some("jobs"));
        assert!(matches!(options.get_ssl_mode(), PgSslMode::VerifyFull));
        assert_eq!(options.get_application_name(), Some("drydock"));
        let socket = parse("postgres:///jobs?host=/run/postgresql&user=dock").unwrap();
        assert_eq!(socket.get_socket().unwrap().to_str(), Some("/run/postgresql"));
    }

    #[test]
    fn every_fault_is_told_and_no_value_repeated() {
        for url in [
            "postgres://",
            "postgres://u:hunter2@h",
            "postgres://u:hunter2@h:notaport/d",
            "postgres://u@h/d?pasword=hunter2",
            "postgres://u@h/d?options=-c%20hunter2",
            "postgres://u@h/d?sslmode=hunter2",
            "postgres://u@h/d?sslmode=verify-ca",
            "postgres://u@h/d?sslmode=allow",
            "postgres://u:hunter2@h/d?sslrootcert=ca.pem",
            "postgres://u:hunter2@h/d?sslmode=require&sslrootcert=ca.pem",
            "postgres://u:hunter2@h/d?sslmode=verify-full&sslrootcert=/no/such/ca.pem",
            "mysql://u:hunter2@h/d",
        ] {
            let fault = parse(url).unwrap_err();
            assert!(!fault.contains("hunter2"), "{fault}");
        }
    }

    #[test]
    fn a_password_is_seen_wherever_it_stands() {
        assert!(carries_password("postgres://u:p@h/d"));
        assert!(carries_password("postgres://u@h/d?password=p"));
        assert!(carries_password("postgres://u@h/d?sslmode=require&PASSWORD=p"));
        assert!(!carries_password("postgres://u@h/d"));
        assert!(!carries_password("sqlite:///var/lib/drydock.db"));
    }
}

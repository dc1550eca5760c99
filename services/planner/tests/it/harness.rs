//! Services and clients for the tests.

use std::net::SocketAddr;
use std::ops::Deref;
use std::process::Command;

use serde_json::{Value, json};
use testbed::{Answer, Database, HttpClient, Replica, program};

/// The password of `admin`.
pub(crate) const ADMIN_PASSWORD: &str = "Xiphias-gladius-1758";
/// The password of all others.
pub(crate) const PASSWORD: &str = "Thunnus-thynnus-1758";
/// Texts that no response and no log may contain.
const SECRETS: [&str; 4] = [ADMIN_PASSWORD, PASSWORD, "$argon2", "password_hash"];

/// A service of the planner. When dropped, fails the test if its log contains a password or a hash.
pub(crate) struct Planner {
    pub(crate) replica: Replica,
    address: Address,
}

impl Planner {
    /// The command line of the users' service on a free port.
    pub(crate) fn users_command(database_url: &str) -> Command {
        let mut command = planner(database_url, "users");
        // High limits, so that tests can log in often.
        command.envs([
            ("PLANNER_LOGINS_A_MINUTE", "100000"),
            ("PLANNER_LOGINS_A_MINUTE_FROM_ADDRESS", "100000"),
            ("ADMIN_PASSWORD", ADMIN_PASSWORD),
        ]);
        command
    }

    pub(crate) fn users(database: &Database) -> Self {
        Self::run(&mut Self::users_command(&database.url()))
    }

    pub(crate) fn users_with(database: &Database, options: &[&str]) -> Self {
        Self::run(Self::users_command(&database.url()).args(options))
    }

    pub(crate) fn goals(database: &Database, users_url: &str) -> Self {
        let mut command = planner(&database.url(), "goals");
        Self::run(command.args(["--users-url", users_url]))
    }

    /// Starts a service, and waits until it is ready.
    pub(crate) fn run(command: &mut Command) -> Self {
        let mut replica = Replica::run(command);
        replica.wait_until_ready();
        let address = Address(replica.address());
        Self { replica, address }
    }

    /// Its address, which can be copied to other threads.
    pub(crate) fn address(&self) -> Address {
        self.address
    }

    /// Its log so far.
    pub(crate) fn log(&self) -> String {
        self.replica.log()
    }
}

impl Deref for Planner {
    type Target = Address;

    fn deref(&self) -> &Address {
        &self.address
    }
}

/// The address of a service.
#[derive(Clone, Copy)]
pub(crate) struct Address(SocketAddr);

impl Address {
    pub(crate) fn url(self) -> String {
        format!("http://{}", self.0)
    }

    /// A client without a token.
    pub(crate) fn anonymous(self) -> Client {
        Client::to(self.0, None)
    }

    /// A client with this token.
    pub(crate) fn with_token(self, token: &str) -> Client {
        Client::to(self.0, Some(token))
    }

    /// A client that is logged in as the admin.
    pub(crate) fn admin(self) -> Client {
        let tokens = self.log_in("admin", ADMIN_PASSWORD);
        self.with_token(&tokens.access)
    }

    pub(crate) fn log_in(self, login: &str, password: &str) -> Tokens {
        let answer = self.anonymous().log_in(login, password);
        assert_eq!(answer.status, 200, "{answer:?}");
        Tokens::of(&answer)
    }

    /// The value of a series of `/metrics`.
    pub(crate) fn metric(self, series: &str) -> u64 {
        self.client().metric(series)
    }

    /// A raw connection.
    pub(crate) fn client(self) -> HttpClient {
        HttpClient::connect(self.0)
    }
}

impl Drop for Planner {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_no_secret(&self.replica.log());
        }
    }
}

pub(crate) fn planner(database_url: &str, service: &str) -> Command {
    let mut command = program("planner").expect("tests of the package build its binary");
    command.envs([("LISTEN", "127.0.0.1:0"), ("DATABASE_URL", database_url)]);
    command.arg(service);
    command
}

#[track_caller]
fn assert_no_secret(text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret:?} is in {text}");
    }
}

/// The tokens of a login.
#[derive(Debug, Clone)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Tokens {
    pub(crate) fn of(answer: &Answer) -> Self {
        let answer = answer.json();
        let token = |name: &str| answer[name].as_str().expect("a token").to_owned();
        Self {
            access: token("access_token"),
            refresh: token("refresh_token"),
        }
    }
}

/// A client of a service, which checks that no response contains a secret.
pub(crate) struct Client {
    client: HttpClient,
    authorization: String,
}

impl Client {
    pub(crate) fn to(address: SocketAddr, token: Option<&str>) -> Self {
        let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        Self {
            client: HttpClient::connect(address),
            authorization: authorization.unwrap_or_default(),
        }
    }

    /// Sends a request with additional header lines.
    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let headers = format!("{}{headers}", self.authorization);
        let answer = self.client.request(method, path, &headers, body.as_bytes());
        assert_no_secret(&answer.headers);
        assert_no_secret(&String::from_utf8_lossy(&answer.body));
        answer
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, "", "")
    }

    pub(crate) fn delete(&mut self, path: &str) -> Answer {
        self.send("DELETE", path, "", "")
    }

    pub(crate) fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, "", &body.to_string())
    }

    pub(crate) fn patch(&mut self, path: &str, body: &Value) -> Answer {
        self.send("PATCH", path, "", &body.to_string())
    }

    pub(crate) fn log_in(&mut self, login: &str, password: &str) -> Answer {
        self.post("/token", &json!({ "login": login, "password": password }))
    }

    /// Creates a user with this login, and returns its id.
    pub(crate) fn create_user(&mut self, login: &str) -> u64 {
        self.create_named(login, "Ivan", "Petrov")
    }

    pub(crate) fn create_named(&mut self, login: &str, first: &str, last: &str) -> u64 {
        let user =
            json!({ "login": login, "password": PASSWORD, "first_name": first, "last_name": last });
        created(&self.post("/users", &user))
    }

    /// Sends a GET that must succeed, and returns its JSON.
    pub(crate) fn read(&mut self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }
}

/// The id in a response with status 201.
#[track_caller]
pub(crate) fn created(answer: &Answer) -> u64 {
    let shown = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, 201, "{shown}");
    answer.json()["id"].as_u64().expect("an id is a number")
}

/// Fails unless it is a problem document of this status, whose detail contains `expected`.
#[track_caller]
pub(crate) fn assert_problem(answer: &Answer, status: u16, expected: &str) {
    let kind = answer.header("Content-Type");
    assert_eq!(
        (answer.status, kind),
        (status, Some("application/problem+json")),
        "{answer:?}"
    );
    let problem = answer.json();
    assert_eq!(problem["status"], status, "{problem}");
    let detail = problem["detail"].as_str().expect("a problem has a detail");
    assert!(
        detail.contains(expected),
        "{expected:?} is not in {detail:?}"
    );
}

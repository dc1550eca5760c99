//! Starts of the services, and their options.

use serde_json::json;
use testbed::{Database, Replica, eventually};

use crate::harness::{ADMIN_PASSWORD, PASSWORD, Planner, planner};

const WARNING: &str = "the password of the user `admin` is `secret`";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Starts the users' service without `ADMIN_PASSWORD`.
fn with_default_password(database: &Database) -> Planner {
    Planner::run(Planner::users_command(&database.url()).env_remove("ADMIN_PASSWORD"))
}

#[test]
fn the_first_start_makes_admin_with_the_password_secret_and_warns_until_it_is_changed() {
    let database = Database::new();
    drop(with_default_password(&database));
    let users = with_default_password(&database);
    assert!(users.log().contains(WARNING), "at the second start as well");
    let tokens = users.log_in("admin", "secret");
    let mut admin = users.with_token(&tokens.access);
    assert_eq!(admin.read("/user/id-1")["role"], "admin");
    assert_eq!(
        admin
            .patch("/users/1", &json!({ "password": PASSWORD }))
            .status,
        200
    );
    drop(users);
    let users = with_default_password(&database);
    assert!(!users.log().contains(WARNING), "{}", users.log());
    users.log_in("admin", PASSWORD);
}

#[test]
fn another_first_password_is_taken_from_the_environment_at_the_first_start_alone() {
    let database = Database::new();
    let users = Planner::users(&database);
    assert!(!users.log().contains(WARNING));
    users.log_in("admin", ADMIN_PASSWORD);
    drop(users);
    let users =
        Planner::run(Planner::users_command(&database.url()).env("ADMIN_PASSWORD", PASSWORD));
    users.log_in("admin", ADMIN_PASSWORD);
}

#[test]
fn a_first_password_that_could_not_be_chosen_later_is_refused() {
    let database = Database::new();
    for password in ["7 signs", &*"x".repeat(129)] {
        let mut command = Planner::users_command(&database.url());
        let mut refused = Replica::run(command.env("ADMIN_PASSWORD", password));
        assert_eq!(refused.exit_status().code(), Some(2));
        let log = refused.log();
        assert!(log.contains("8 to 128 characters"), "{log}");
        assert!(!log.contains(password), "{log}");
    }
}

#[test]
fn an_option_that_is_of_no_use_is_refused_with_what_it_takes() {
    for (service, option, expected) in [
        ("users", "--logins-a-minute=0", "takes a whole number, 1 to"),
        (
            "users",
            "--logins-a-minute-from-address=x",
            "takes a whole number, 1 to",
        ),
        (
            "goals",
            "--users-url=ftp://127.0.0.1",
            "takes a URL as http",
        ),
        (
            "goals",
            "--users-url=http://127.0.0.1/?x",
            "takes a URL as http",
        ),
        ("goals", "--users-url=127.0.0.1:8000", "--users-url"),
    ] {
        let database = Database::new();
        let mut command = planner(&database.url(), service);
        let mut refused = Replica::run(command.arg(option));
        assert_eq!(refused.exit_status().code(), Some(2), "{option}");
        assert!(refused.log().contains(expected), "{}", refused.log());
    }
}

#[test]
fn services_that_start_at_once_on_an_empty_database_make_one_admin_and_one_key() {
    let database = Database::new();
    let start = |_| Replica::run(&mut Planner::users_command(&database.url()));
    let mut replicas: Vec<_> = (0..4).map(start).collect();
    replicas.iter_mut().for_each(Replica::wait_until_ready);
    let count = |table: &str| database.rows::<u64>(&format!("SELECT COUNT(*) FROM {table}"));
    assert_eq!((count("users"), count("signing_keys")), (vec![1], vec![1]));
}

#[test]
fn sealed_keys_are_opened_with_their_secret_alone_and_are_not_in_the_database() {
    let database = Database::new();
    let with = |secret: &str| {
        let mut command = Planner::users_command(&database.url());
        command.env("KEY_SECRET", secret);
        command
    };
    let users = Planner::run(&mut with(SECRET));
    let token = users.log_in("admin", ADMIN_PASSWORD).access;
    assert!(!users.log().contains(SECRET) && !users.log().contains("not sealed"));
    drop(users);
    for (secret, expected) in [
        (
            "another secret of thirty-two characters",
            "sealed with another KEY_SECRET",
        ),
        ("", "set KEY_SECRET"),
    ] {
        let mut refused = Replica::run(&mut with(secret));
        assert_eq!(refused.exit_status().code(), Some(1));
        assert!(refused.log().contains(expected), "{}", refused.log());
    }
    let mut too_short = Replica::run(&mut with("0123"));
    assert_eq!(too_short.exit_status().code(), Some(2));
    let log = too_short.log();
    assert!(log.contains("at least 32 characters"), "{log}");
    assert!(!log.contains("0123"), "{log}");
    let users = Planner::run(&mut with(SECRET));
    assert_eq!(users.with_token(&token).get("/sessions").status, 200);
}

#[test]
fn a_service_that_is_asked_to_ends_in_order() {
    let (users_database, goals_database) = (Database::new(), Database::new());
    let mut users = Replica::run(&mut Planner::users_command(&users_database.url()));
    users.wait_until_ready();
    let goals = Planner::goals(&goals_database, &format!("http://{}", users.address()));
    goals.replica.terminate();
    users.terminate();
    assert_eq!(users.exit_status().code(), Some(0), "{}", users.log());
    eventually("goals has stopped", || goals.log().contains("stopped"));
}

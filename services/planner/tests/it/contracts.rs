//! The contracts: the files are what is served.

use std::path::Path;
use std::{env, fs};

use foundation::http::{Endpoint, Service};
use planner::goals::Goals;
use planner::users::Users;
use serde_json::Value;
use testbed::Database;

use crate::harness::Planner;

/// Compares a contract with its file; writes the file first if `WRITE_CONTRACTS` is set.
fn assert_written(file: &str, served: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let served = serde_json::to_string_pretty(served).expect("it was JSON") + "\n";
    if env::var_os("WRITE_CONTRACTS").is_some() {
        fs::write(&path, &served).expect("the folder is ours");
    }
    let written = fs::read_to_string(&path).expect("the file is there");
    assert!(
        written == served,
        "{file} is not what is served: run the tests with WRITE_CONTRACTS=1"
    );
}

#[test]
fn the_files_of_the_contracts_are_what_is_served() {
    let (users_database, goals_database) = (Database::new(), Database::new());
    let users = Planner::users(&users_database);
    let goals = Planner::goals(&goals_database, &users.url());
    let users_answer: Vec<_> = Users::ENDPOINTS.iter().map(Endpoint::operation).collect();
    let goals_answer: Vec<_> = Goals::ENDPOINTS.iter().map(Endpoint::operation).collect();
    for (service, operations, file) in [
        (&users, users_answer, "openapi-users.json"),
        (&goals, goals_answer, "openapi-goals.json"),
    ] {
        let served = service.client().get("/openapi.json");
        assert_eq!(served.status, 200);
        let contract = served.json();
        for (method, path) in operations {
            let operation = &contract["paths"][path][method.to_lowercase()];
            assert!(operation.is_object(), "{method} {path}");
        }
        assert_written(file, &contract);
        // Not all regex engines know Unicode classes (ECMA-262 needs a flag for them, which validators do not set).
        assert!(!served.json().to_string().contains(r"\\p"), "{file}");
        let page = service.client().get("/docs/index.html");
        assert!(String::from_utf8_lossy(&page.body).contains("swagger-ui"));
    }
}

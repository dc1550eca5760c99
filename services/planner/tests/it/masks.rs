//! The search for users by login and by masks.

use mysql::prelude::Queryable;
use mysql::{Row, params};
use planner::page::Page;
use planner::users::mask::Mask;
use planner::users::store::Search;
use testbed::Database;

use crate::harness::{Client, Planner, assert_problem};

const PEOPLE: [(&str, &str, &str); 9] = [
    ("ivan", "Ivan", "Petrov"),
    ("ivanna", "Ivanna", "IVANOVA"),
    ("igor", "Igor", "Sidorov"),
    ("sale", "100% sure", "O_Neill"),
    ("sail", "100 sure", "ONeill"),
    ("cyrillic", "Иван", "Петров"),
    ("capital", "ИВАН", "ЁЛКИН"),
    ("greek", "Γιώργος", "Ꭰ"),
    ("greek-capital", "ΓΙΏΡΓΟΣ", "ꭰ"),
];

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn logins(client: &mut Client, query: &str) -> Vec<String> {
    let found = client.read(&format!("/users?{query}"));
    let items = found["items"].as_array().expect("a list");
    let login = |user: &serde_json::Value| user["login"].as_str().expect("a login").to_owned();
    items.iter().map(login).collect()
}

#[test]
fn users_are_found_by_login_and_by_masks_in_any_case_and_script() {
    let database = Database::new();
    let users = Planner::users(&database);
    let mut admin = users.admin();
    for (login, first, last) in PEOPLE {
        admin.create_named(login, first, last);
    }
    for (first, last, expected) in [
        ("Iv*", "", vec!["ivan", "ivanna"]),
        ("iVAn", "", vec!["ivan"]),
        ("?van", "", vec!["ivan"]),
        ("", "*ov?", vec!["ivanna"]),
        ("", "*ov", vec!["ivan", "igor"]),
        ("i*", "*rov", vec!["ivan", "igor"]),
        ("100%*", "", vec!["sale"]),
        ("100*", "", vec!["sale", "sail"]),
        ("", "o_n*", vec!["sale"]),
        ("", "o?n*", vec!["sale"]),
        ("ива*", "", vec!["cyrillic", "capital"]),
        ("*ВАН", "", vec!["cyrillic", "capital"]),
        ("", "ёл*", vec!["capital"]),
        ("γιώργος", "", vec!["greek", "greek-capital"]),
        ("ΓΙΏΡΓΟΣ", "", vec!["greek", "greek-capital"]),
        ("Γιώργο?", "ꭰ*", vec!["greek", "greek-capital"]),
        ("", "Пе??ов", vec!["cyrillic"]),
        ("Iv|*", "", vec![]),
        ("\\*", "", vec![]),
    ] {
        let fields = [("first_name", first), ("last_name", last)];
        let fields = fields.iter().filter(|(_, mask)| !mask.is_empty());
        let query: Vec<_> = fields
            .map(|(name, mask)| format!("{name}={}", encoded(mask)))
            .collect();
        assert_eq!(
            logins(&mut admin, &query.join("&")),
            expected,
            "{first:?} {last:?}"
        );
    }
    let path = admin.read("/users?login=greek")["items"][0]["id"].to_string();
    let renamed = admin.patch(
        &format!("/users/{path}"),
        &serde_json::json!({ "first_name": "ΝΊΚΟΣ" }),
    );
    assert_eq!(renamed.status, 200);
    let query = format!("first_name={}", encoded("νίκος"));
    assert_eq!(logins(&mut admin, &query), ["greek"]);
    assert_eq!(logins(&mut admin, "login=ivan"), ["ivan"]);
    assert!(logins(&mut admin, "login=IVAN").is_empty());
    assert!(logins(&mut admin, "login=iva*").is_empty());
}

#[test]
fn a_search_is_shown_in_pages_whose_length_is_told_and_never_lowered() {
    let database = Database::new();
    let users = Planner::users(&database);
    let mut admin = users.admin();
    for (login, first, last) in PEOPLE {
        admin.create_named(login, first, last);
    }
    let (mut query, mut all) = ("limit=3".to_owned(), Vec::new());
    loop {
        let page = admin.read(&format!("/users?{query}"));
        let items = page["items"].as_array().expect("a list");
        all.extend(items.iter().map(|user| user["id"].as_u64().expect("an id")));
        let Some(next) = page["next"].as_u64() else {
            break;
        };
        assert_eq!(items.len(), 3);
        query = format!("limit=3&after={next}");
    }
    // The admin is a user as well.
    assert!(all.into_iter().eq(1..=10));
    for (query, status, expected) in [
        ("limit=0", 422, "`limit` is 0. It takes 1 to 100."),
        ("limit=101", 422, "`limit` is 101. It takes 1 to 100."),
        ("limit=x", 400, "`limit` is not a whole number"),
        ("limit=1&limit=2", 400, "duplicate field"),
        ("page=2", 400, "unknown field"),
        ("first_name=*", 422, "at least 2 other characters"),
        ("last_name=%3Fa", 422, "at least 2 other characters"),
        ("last_name=", 422, "1 to 64"),
    ] {
        assert_problem(&admin.get(&format!("/users?{query}")), status, expected);
    }
    assert_problem(&users.anonymous().get("/users"), 401, "Log in");
}

#[test]
fn a_mask_with_a_beginning_is_looked_up_in_its_index() {
    let database = Database::new();
    let users = Planner::users(&database);
    drop(users);
    let mut connection = database.connect();
    let rows = (0..2000).map(
        |index| params! { "login" => format!("user{index}"), "name" => format!("name{index}") },
    );
    connection
        .exec_batch(
            r"INSERT INTO users (
                login, first_name, last_name, first_name_lower, last_name_lower, role, password_hash, created_at
              )
              VALUES (:login, :name, :name, :name, :name, 'user', 'none', NOW(6))",
            rows,
        )
        .expect("the columns are these");
    // The default format of MySQL 9 is another one; MariaDB does not know the variable.
    let _ = connection.query_drop("SET explain_format = 'TRADITIONAL'");
    let mask = |mask| Some(Mask::parse("x", mask).expect("it is one"));
    for (first_name, last_name, index) in [
        (mask("Name12*"), None, "first_name_lower"),
        (None, mask("NAME1*"), "last_name_lower"),
        (mask("n*"), mask("name1*"), "last_name_lower"),
        (mask("name1*"), mask("*me1"), "first_name_lower"),
    ] {
        let search = Search {
            login: None,
            first_name,
            last_name,
        };
        let (sql, values) = search.statement(Page {
            after: 0,
            limit: 10,
        });
        let plan: Option<Row> = connection
            .exec_first(format!("EXPLAIN {sql}"), values)
            .expect("it is right");
        let plan = plan.expect("it reads one table");
        let access: (Option<String>, Option<String>) = (
            plan.get("type").expect("a column"),
            plan.get("key").expect("a column"),
        );
        assert_eq!(
            access,
            (Some("range".to_owned()), Some(index.to_owned())),
            "{sql}"
        );
    }
}

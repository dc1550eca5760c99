//! Users: creating, reading, changing and deleting them.

use serde_json::json;
use testbed::Database;

use crate::harness::{PASSWORD, Planner, assert_problem, created};

#[test]
fn a_user_is_made_shown_to_anybody_changed_and_deleted() {
    let database = Database::new();
    let users = Planner::users(&database);
    let (mut admin, mut anonymous) = (users.admin(), users.anonymous());
    let ivan = json!({ "login": "ivan", "password": PASSWORD, "first_name": "Иван", "last_name": "Петров" });
    let made = admin.post("/users", &ivan);
    let path = format!("/users/{}", created(&made));
    assert_eq!(made.header("Location"), Some(path.as_str()));
    let shown = anonymous.get(&path);
    assert_eq!(
        (shown.json(), shown.header("ETag")),
        (made.json(), Some("\"1\""))
    );
    assert_eq!(
        anonymous.get(&path.replace("/users/", "/user/id-")).json(),
        made.json()
    );
    let known = anonymous.send("GET", &path, "If-None-Match: \"1\"\r\n", "");
    assert_eq!((known.status, known.body.len()), (304, 0));

    let changed = admin.patch(&path, &json!({ "last_name": "Сидоров" }));
    assert_eq!(
        (changed.status, changed.header("ETag")),
        (200, Some("\"2\""))
    );
    assert_eq!(anonymous.get(&path).json(), changed.json());
    assert_eq!(changed.json()["first_name"], "Иван");
    assert_eq!(admin.delete(&path).status, 204);
    assert_problem(&anonymous.get(&path), 404, "no user of this id");
    assert_problem(&admin.patch(&path, &json!({})), 404, "no user of this id");
}

#[test]
fn a_login_is_given_once() {
    let database = Database::new();
    let users = Planner::users(&database);
    let mut admin = users.admin();
    admin.create_user("ivan");
    let again =
        json!({ "login": "ivan", "password": PASSWORD, "first_name": "I", "last_name": "P" });
    assert_problem(&admin.post("/users", &again), 409, "The login is taken");
    admin.create_user("Ivan");
}

#[test]
fn a_login_is_compared_to_the_last_blank() {
    let database = Database::new();
    let users = Planner::users(&database);
    let mut admin = users.admin();
    admin.create_user("ivan");
    for other in ["ivan ", "ivan  ", " ivan", "ivan\0"] {
        let answer = users.anonymous().log_in(other, PASSWORD);
        assert_problem(&answer, 401, "Login or password are wrong");
    }
    for (query, found) in [("ivan", 1), ("ivan%20", 0), ("%20ivan", 0), ("Ivan", 0)] {
        let users = admin.read(&format!("/users?login={query}"));
        let items = users["items"].as_array().expect("a list");
        assert_eq!(items.len(), found, "{query}");
    }
}

#[test]
fn a_change_of_another_version_is_refused() {
    let database = Database::new();
    let users = Planner::users(&database);
    let mut admin = users.admin();
    let path = format!("/users/{}", admin.create_user("ivan"));
    let mut change = |tags: &str| {
        let header = format!("If-Match: {tags}\r\n");
        admin.send("PATCH", &path, &header, r#"{"first_name":"Иоанн"}"#)
    };
    for other in ["\"2\"", "W/\"1\""] {
        assert_problem(&change(other), 412, "changed meanwhile");
    }
    assert_eq!(change("\"7\", \"1\"").status, 200);
    assert_problem(&change("\"1\""), 412, "changed meanwhile");
    assert_eq!(change("*").status, 200);
    let refused = admin.send("DELETE", &path, "If-Match: \"1\"\r\n", "");
    assert_problem(&refused, 412, "changed meanwhile");
}

#[test]
fn others_than_oneself_are_changed_by_an_admin_alone_and_an_admin_stays() {
    let database = Database::new();
    let users = Planner::users(&database);
    let mut admin = users.admin();
    let (ivan, olga) = (admin.create_user("ivan"), admin.create_user("olga"));
    let mut as_ivan = users.with_token(&users.log_in("ivan", PASSWORD).access);
    for other in [olga, 1] {
        let path = format!("/users/{other}");
        assert_problem(
            &as_ivan.patch(&path, &json!({})),
            403,
            "by itself or an admin",
        );
        assert_problem(&as_ivan.delete(&path), 403, "by itself or an admin");
    }
    assert_problem(&admin.delete("/users/1"), 409, "An admin cannot be deleted");
    assert_eq!(as_ivan.delete(&format!("/users/{ivan}")).status, 204);
    assert_problem(
        &as_ivan.get("/sessions"),
        401,
        "session of this token has ended",
    );
}

#[test]
fn what_lies_outside_the_limits_is_refused_with_what_they_are() {
    let database = Database::new();
    let users = Planner::users(&database);
    let mut admin = users.admin();
    let good = json!({ "login": "x", "password": PASSWORD, "first_name": "I", "last_name": "P" });
    for (field, value, status, expected) in [
        ("login", json!("a b"), 422, "`login` takes"),
        ("login", json!("x".repeat(65)), 422, "`login` takes"),
        ("password", json!("short"), 422, "`password` takes 8 to 128"),
        ("password", json!("x".repeat(129)), 422, "`password` takes"),
        ("first_name", json!(" "), 422, "`first_name` takes 1 to 64"),
        ("last_name", json!("a\u{7}"), 422, "`last_name` takes"),
        ("last_name", json!(7), 400, "invalid type"),
        ("role", json!("admin"), 400, "unknown field `role`"),
    ] {
        let mut user = good.clone();
        user[field] = value;
        assert_problem(&admin.post("/users", &user), status, expected);
    }
    let mut anonymous = users.anonymous();
    assert_problem(
        &anonymous.post("/users", &good),
        401,
        "Authorization: Bearer",
    );
    for no_id in ["x", "-1", "+1", "18446744073709551616", "1%00"] {
        let answer = anonymous.get(&format!("/users/{no_id}"));
        assert_problem(&answer, 404, "no user of this id");
    }
}

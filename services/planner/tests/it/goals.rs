//! Goals and tasks: permissions, transitions of the status, and the counts of progress.

use std::thread;

use serde_json::{Value, json};
use testbed::Database;

use crate::harness::{Client, PASSWORD, Planner, assert_problem, created};

/// Both services, and the tokens of an owner, an assignee, another user, and an admin.
struct Services {
    goals: Planner,
    tokens: Vec<(u64, String)>,
    _users: Planner,
    _databases: [Database; 2],
}

impl Services {
    fn new() -> Self {
        let databases = [Database::new(), Database::new()];
        let users = Planner::users(&databases[0]);
        let goals = Planner::goals(&databases[1], &users.url());
        let mut admin = users.admin();
        let logins = ["owner", "assignee", "other"];
        let mut tokens: Vec<_> = logins
            .map(|login| {
                (
                    admin.create_user(login),
                    users.log_in(login, PASSWORD).access,
                )
            })
            .into();
        tokens.push((
            1,
            users.log_in("admin", crate::harness::ADMIN_PASSWORD).access,
        ));
        Self {
            goals,
            tokens,
            _users: users,
            _databases: databases,
        }
    }

    fn clients(&self) -> [Client; 4] {
        [0, 1, 2, 3].map(|index| self.goals.with_token(&self.tokens[index].1))
    }

    fn assignee_id(&self) -> u64 {
        self.tokens[1].0
    }
}

fn step(client: &mut Client, task: &str, status: &str) -> testbed::Answer {
    client.patch(task, &json!({ "status": status }))
}

#[test]
fn a_goal_is_changed_by_its_owner_and_an_admin_and_shown_to_all() {
    let services = Services::new();
    let [mut owner, mut assignee, mut other, mut admin] = services.clients();
    let made = owner.post("/goals", &json!({ "title": "Swim", "due": "2027-06-01" }));
    let path = format!("/goals/{}", created(&made));
    assert_eq!(made.header("Location"), Some(path.as_str()));
    assert_eq!(other.read(&path), made.json());
    for client in [&mut assignee, &mut other] {
        let rule = "by its owner or an admin";
        assert_problem(&client.patch(&path, &json!({ "title": "x" })), 403, rule);
        assert_problem(
            &client.post(&format!("{path}/tasks"), &json!({ "title": "x" })),
            403,
            rule,
        );
        assert_problem(&client.delete(&path), 403, rule);
    }
    let changed = owner.patch(&path, &json!({ "due": null, "description": "In the sea." }));
    assert_eq!(
        (&changed.json()["due"], &changed.json()["title"]),
        (&Value::Null, &json!("Swim"))
    );
    assert_eq!(other.read(&path), changed.json());
    assert_eq!(admin.patch(&path, &json!({ "title": "Dive" })).status, 200);
    assert_eq!(admin.delete(&path).status, 204);
    assert_problem(&owner.get(&path), 404, "no goal of this id");
    assert_problem(
        &owner.get(&format!("{path}/tasks")),
        404,
        "no goal of this id",
    );
}

#[test]
fn a_task_is_changed_by_owner_and_admin_and_its_status_by_the_assignee() {
    let services = Services::new();
    let [mut owner, mut assignee, mut other, mut admin] = services.clients();
    let goal = created(&owner.post("/goals", &json!({ "title": "Swim" })));
    let task = json!({ "title": "Find a pool", "assignee_id": services.assignee_id(), "priority": "high" });
    let made = owner.post(&format!("/goals/{goal}/tasks"), &task);
    let path = format!("/goals/{goal}/tasks/{}", created(&made));
    assert_eq!(other.read(&path), made.json());
    assert_eq!(step(&mut assignee, &path, "in_progress").status, 200);
    for change in [
        json!({ "title": "x" }),
        json!({ "status": "done", "due": null }),
    ] {
        assert_problem(&assignee.patch(&path, &change), 403, "the status alone");
    }
    assert_problem(&step(&mut other, &path, "done"), 403, "the status alone");
    assert_eq!(step(&mut admin, &path, "done").status, 200);
    let away = owner.patch(
        &path,
        &json!({ "assignee_id": null, "status": "in_progress" }),
    );
    assert_eq!(away.json()["assignee_id"], Value::Null);
    assert_problem(&step(&mut assignee, &path, "todo"), 403, "the status alone");

    let history = other.read(&format!("{path}/history"));
    let steps = history["items"].as_array().expect("a list");
    let shown: Vec<_> = steps
        .iter()
        .map(|step| (&step["from"], &step["to"], &step["user_id"]))
        .collect();
    let [owner_id, assignee_id] = [0, 1].map(|index| json!(services.tokens[index].0));
    let (todo, in_progress, done) = (json!("todo"), json!("in_progress"), json!("done"));
    let expected = [
        (&todo, &in_progress, &assignee_id),
        (&in_progress, &done, &json!(1)),
        (&done, &in_progress, &owner_id),
    ];
    assert_eq!(shown, expected);
}

#[test]
fn a_status_that_is_not_reached_is_refused_with_those_that_are() {
    let services = Services::new();
    let [mut owner, ..] = services.clients();
    let goal = created(&owner.post("/goals", &json!({ "title": "Swim" })));
    let made = owner.post(&format!("/goals/{goal}/tasks"), &json!({ "title": "x" }));
    let path = format!("/goals/{goal}/tasks/{}", created(&made));
    for (to, allowed) in [
        ("done", Some(json!(["in_progress", "cancelled"]))),
        ("todo", Some(json!(["in_progress", "cancelled"]))),
        ("in_progress", None),
        ("done", None),
        ("todo", Some(json!(["in_progress", "cancelled"]))),
        ("cancelled", None),
        ("done", Some(json!(["todo"]))),
        ("todo", None),
    ] {
        let answer = step(&mut owner, &path, to);
        match allowed {
            None => assert_eq!(answer.status, 200, "{to}: {answer:?}"),
            Some(allowed) => {
                assert_problem(&answer, 409, &format!("not to `{to}`"));
                assert_eq!(answer.json()["allowed"], allowed);
            }
        }
    }
    assert_problem(&step(&mut owner, &path, "finished"), 400, "unknown variant");
}

#[test]
fn progress_is_what_the_tasks_say_however_many_change_them_at_once() {
    let services = Services::new();
    let [mut owner, ..] = services.clients();
    let goal = created(&owner.post("/goals", &json!({ "title": "Swim" })));
    let path = format!("/goals/{goal}");
    thread::scope(|scope| {
        for worker in 0..6 {
            let mut client = services.clients().into_iter().next().expect("the owner");
            let path = &path;
            scope.spawn(move || {
                for number in 0..6 {
                    let task = json!({ "title": format!("{worker}-{number}") });
                    let task = created(&client.post(&format!("{path}/tasks"), &task));
                    let task = format!("{path}/tasks/{task}");
                    for status in ["in_progress", "done", "in_progress", "todo", "cancelled"]
                        .iter()
                        .take(number)
                    {
                        assert_eq!(step(&mut client, &task, status).status, 200);
                        assert_counted(&client.read(path)["progress"], None);
                    }
                }
            });
        }
    });
    let tasks = owner.read(&format!("{path}/tasks?limit=100"));
    assert_counted(&owner.read(&path)["progress"], tasks["items"].as_array());
}

/// Fails unless the counts match the tasks; without tasks, fails if a count has gone below zero.
#[track_caller]
fn assert_counted(progress: &Value, tasks: Option<&Vec<Value>>) {
    for status in ["todo", "in_progress", "done", "cancelled"] {
        let counted = progress[status].as_u64().expect("a number");
        assert!(counted <= 36, "{progress}");
        if let Some(tasks) = tasks {
            let these = tasks.iter().filter(|task| task["status"] == status);
            assert_eq!(counted, these.count() as u64, "{status} in {progress}");
        }
    }
}

#[test]
fn lists_are_shown_in_pages_and_what_is_of_another_goal_is_not_found() {
    let services = Services::new();
    let [mut owner, ..] = services.clients();
    let goals = [(); 3].map(|()| created(&owner.post("/goals", &json!({ "title": "x" }))));
    let first = owner.read("/goals?limit=2");
    assert_eq!(first["next"], goals[1]);
    let rest = owner.read(&format!("/goals?limit=2&after={}", goals[1]));
    assert_eq!(
        (&rest["items"][0]["id"], &rest["next"]),
        (&json!(goals[2]), &Value::Null)
    );
    let task = created(&owner.post(
        &format!("/goals/{}/tasks", goals[0]),
        &json!({ "title": "x" }),
    ));
    for path in ["", "/history"] {
        let answer = owner.get(&format!("/goals/{}/tasks/{task}{path}", goals[1]));
        assert_problem(&answer, 404, "no task of this id in this goal");
    }
    for (body, status, expected) in [
        (json!({ "title": "" }), 422, "`title` takes 1 to 200"),
        (json!({ "title": "x".repeat(201) }), 422, "`title` takes"),
        (
            json!({ "title": "x", "description": "x".repeat(4097) }),
            422,
            "`description` takes",
        ),
        (
            json!({ "title": "x", "due": "2027-02-30" }),
            400,
            "as in 2026-01-31",
        ),
        (json!({ "title": "x", "owner_id": 1 }), 400, "unknown field"),
        (json!({}), 400, "missing field `title`"),
    ] {
        assert_problem(&owner.post("/goals", &body), status, expected);
    }
    assert_problem(&owner.get("/goals?limit=101"), 422, "1 to 100");
    let path = format!("/goals/{}/tasks/{task}", goals[0]);
    for (body, expected) in [
        (
            json!({ "priority": null }),
            "`priority`: invalid type: null, expected a string",
        ),
        (
            json!({ "status": null }),
            "`status`: invalid type: null, expected a string",
        ),
        (
            json!({ "assignee_id": 0 }),
            "`assignee_id`: it takes the whole number of a user, 1 to 9007199254740991",
        ),
        (
            json!({ "due": "2027-02-30" }),
            "`due`: it takes a day from 1000-01-01 to 9999-12-31",
        ),
    ] {
        assert_problem(&owner.patch(&path, &body), 400, expected);
    }
}

//! The page in a real browser, through `WebDriver`. Skipped where there is no `chromedriver`.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::{Database, HttpClient, PATIENCE, Process, skip, stable_address};

use crate::harness::{messager, web, web_again, web_at, worker};

/// Arguments that a container needs, arguments that prevent all requests other than for the page, and a host name that the
/// browser does not treat as local.
const ARGUMENTS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP chat.test 127.0.0.1",
];

/// A `WebDriver` server (<https://www.w3.org/TR/webdriver2/>).
struct Driver {
    address: SocketAddr,
    folder: TempDir,
    _process: Process,
}

impl Driver {
    fn start() -> Option<Self> {
        let found = Command::new("chromedriver").arg("--version").output();
        if !found.is_ok_and(|output| output.status.success()) {
            return None;
        }
        let mut command = Command::new("chromedriver");
        command.arg("--port=0");
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = Process::start(&mut command).expect("it is there");
        let output = process.child().stdout.take().expect("it is a pipe");
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        let port = lines.find_map(|line| {
            let (_, port) = line.split_once("successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        let port = port.expect("the driver says where it listens");
        // Reads further output, so that the driver never blocks.
        std::thread::spawn(move || lines.count());
        Some(Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            folder: tempfile::tempdir().expect("there is room"),
            _process: process,
        })
    }

    fn open(&self, name: &str, page: &str) -> Browser {
        let profile = format!(
            "--user-data-dir={}",
            self.folder.path().join(name).display()
        );
        let arguments: Vec<_> = ARGUMENTS.into_iter().chain([profile.as_str()]).collect();
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let opened = request(self.address, "POST", "/session", &wanted);
        let id = opened["sessionId"].as_str().expect("a session has an id");
        let browser = Browser {
            driver: self.address,
            path: format!("/session/{id}"),
        };
        browser.request("POST", "/url", &json!({ "url": page }));
        browser
    }
}

/// Sends a command to the driver, and returns the result.
fn request(driver: SocketAddr, method: &str, path: &str, body: &Value) -> Value {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let length = body.len();
    let stream = TcpStream::connect(driver).expect("the driver listens");
    let patience = stream.try_clone().expect("a descriptor is free");
    let mut client = HttpClient::on(stream).expect("it is open");
    // Starting a browser may take long.
    patience
        .set_read_timeout(Some(4 * PATIENCE))
        .expect("it is open");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {driver}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {length}\r\n\r\n"
    );
    client.send_raw(format!("{head}{body}").as_bytes());
    let answer = client.receive().json();
    assert!(answer["value"]["error"].is_null(), "{path}: {answer}");
    answer["value"].clone()
}

/// A browser that shows the page.
struct Browser {
    driver: SocketAddr,
    path: String,
}

impl Browser {
    fn request(&self, method: &str, path: &str, body: &Value) -> Value {
        request(self.driver, method, &format!("{}{path}", self.path), body)
    }

    /// Types a text and presses Enter, which sends it.
    fn type_message(&self, text: &str) {
        let field = json!({ "using": "css selector", "value": "#text" });
        let found = self.request("POST", "/element", &field);
        let id = found.as_object().and_then(|found| found.values().next());
        let id = id.and_then(Value::as_str).expect("an element has an id");
        let keys = json!({ "text": format!("{text}\u{e007}") });
        self.request("POST", &format!("/element/{id}/value"), &keys);
    }

    /// Evaluates an expression on the page.
    fn evaluate(&self, expression: &str) -> Value {
        let script = json!({ "script": format!("return {expression}"), "args": [] });
        self.request("POST", "/execute/sync", &script)
    }

    /// Waits until an expression is true on the page.
    fn wait_for(&self, expression: &str) {
        let begun = Instant::now();
        while self.evaluate(expression) != Value::Bool(true) {
            if begun.elapsed() > PATIENCE {
                let page = self.evaluate("document.body.innerText");
                panic!("still waiting for {expression}: {page}");
            }
        }
    }

    fn wait_for_text(&self, text: &str) {
        let text = Value::from(text);
        self.wait_for(&format!(
            "document.getElementById('log').innerText.includes({text})"
        ));
    }

    fn seqs(&self) -> Value {
        self.evaluate(
            "[...document.querySelectorAll('#log li')].map(line => Number(line.dataset.seq))",
        )
    }

    /// The errors in the console, except for failed WebSocket connections, which are expected while no server runs.
    fn errors(&self) -> Vec<String> {
        let entries = self.request("POST", "/se/log", &json!({ "type": "browser" }));
        let entries = entries.as_array().expect("a log is an array").iter();
        let severe = entries.filter(|entry| entry["level"] == "SEVERE");
        let messages = severe.map(|entry| entry["message"].to_string());
        messages
            .filter(|message| !message.contains("WebSocket connection to"))
            .collect()
    }

    fn screenshot(&self, folder: &Path, name: &str, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height });
        self.request("POST", "/window/rect", &size);
        let picture = self.request("GET", "/screenshot", &Value::Null);
        let picture = picture.as_str().expect("it is in base64");
        let picture = data_encoding::BASE64
            .decode(picture.as_bytes())
            .expect("it is in base64");
        std::fs::write(folder.join(name), picture).expect("there is room");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // If the test fails, the driver may be gone as well.
        if !std::thread::panicking() {
            self.request("DELETE", "", &Value::Null);
        }
    }
}

/// The folder for screenshots, in the build's folder.
fn screenshot_folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chat-page");
    std::fs::create_dir_all(&folder).expect("the build's folder is ours");
    folder
}

#[test]
fn two_browsers_on_two_processes_chat_and_survive_a_restart() {
    let Some(driver) = Driver::start() else {
        skip("there is no chromedriver");
        return;
    };
    let database = Database::new();
    let (address, room) = (stable_address(), "pages/chat?room=browsers");
    let (mut here, there) = (web_again(&database, address), web(&database));
    let (_messager, _worker) = (messager(&database), worker(&database));
    let ann = driver.open("ann", &format!("http://{address}/{room}"));
    let bob = driver.open("bob", &format!("http://{}/{room}", there.address()));
    for browser in [&ann, &bob] {
        browser.wait_for("document.getElementById('state').innerText === 'In browsers'");
    }

    ann.type_message("Hello, Bob");
    for browser in [&ann, &bob] {
        browser.wait_for_text("Hello, Bob");
        browser.wait_for_text("boB ,olleH");
    }
    bob.type_message(
        "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">",
    );
    for browser in [&ann, &bob] {
        browser.wait_for_text("<script>document.title='taken'</script>");
        assert_eq!(browser.evaluate("document.title"), "Chat");
        assert_eq!(
            browser.evaluate("document.querySelectorAll('#log script, #log img').length"),
            0
        );
    }
    ann.type_message("work!pow");
    bob.type_message("called!rpc");
    for browser in [&ann, &bob] {
        browser.wait_for("document.querySelectorAll('.check').length === 2");
        browser.wait_for("[...document.querySelectorAll('.check')].every(it => /^✓ verified/.test(it.innerText))");
        browser.wait_for("document.querySelectorAll('.proving').length === 0");
    }

    here.kill();
    ann.wait_for("document.getElementById('state').className === 'offline'");
    ann.type_message("written while offline");
    bob.type_message("meanwhile");
    bob.wait_for_text("elihwnaem");
    let _here = web_again(&database, address);
    for browser in [&ann, &bob] {
        browser.wait_for_text("enilffo elihw nettirw");
    }
    let expected: Value = (1..=12).collect::<Vec<_>>().into();
    for browser in [&ann, &bob] {
        assert_eq!(browser.seqs(), expected, "nothing is lost or shown twice");
        assert_eq!(browser.errors(), Vec::<String>::new());
    }
    take_screenshots(&ann);
}

fn take_screenshots(browser: &Browser) {
    let folder = screenshot_folder();
    for scheme in ["light", "dark"] {
        let set =
            format!("(document.documentElement.style.colorScheme = '{scheme}') === '{scheme}'");
        browser.wait_for(&set);
        for (name, width, height) in [("wide", 1280, 800), ("phone", 500, 900)] {
            browser.screenshot(&folder, &format!("{scheme}-{name}.png"), width, height);
        }
    }
}

#[test]
fn a_page_without_tls_from_another_machine_sends_too() {
    let Some(driver) = Driver::start() else {
        skip("there is no chromedriver");
        return;
    };
    let database = Database::new();
    let web = web(&database);
    let port = web.address().port();
    let ann = driver.open("ann", &format!("http://chat.test:{port}/pages/chat?room=r"));
    ann.wait_for("document.getElementById('state').innerText === 'In r'");
    ann.wait_for("isSecureContext === false");
    ann.type_message("Hello");
    ann.wait_for_text("Hello");
    assert_eq!(ann.errors(), Vec::<String>::new());
}

#[test]
fn what_is_refused_is_given_back_to_be_mended_and_not_sent_again() {
    let Some(driver) = Driver::start() else {
        skip("there is no chromedriver");
        return;
    };
    let database = Database::new();
    let mut web = web(&database);
    let address = web.address();
    let ann = driver.open("ann", &format!("http://{address}/pages/chat?room=refused"));
    ann.wait_for("document.getElementById('state').innerText === 'In refused'");
    ann.wait_for("(document.getElementById('name').value = 'CronTab') === 'CronTab'");
    ann.type_message("Hello");
    ann.wait_for("document.getElementById('fault').innerText.includes('own')");
    ann.wait_for("document.getElementById('text').value === 'Hello'");
    ann.wait_for("(document.getElementById('name').value = 'ann') === 'ann'");
    ann.type_message(", Bob");
    ann.wait_for_text("Hello, Bob");
    web.kill();
    ann.wait_for("document.getElementById('state').className === 'offline'");
    let _web = web_again(&database, address);
    ann.wait_for("document.getElementById('state').innerText === 'In refused'");
    ann.type_message("again");
    ann.wait_for_text("again");
    ann.wait_for("document.getElementById('fault').innerText === ''");
    let too_long = "(document.getElementById('room').value = 'r'.repeat(65)) && document.getElementById('entry').requestSubmit() === undefined";
    ann.wait_for("document.getElementById('room').removeAttribute('maxlength') === undefined");
    ann.wait_for(too_long);
    ann.wait_for("document.getElementById('fault').innerText.includes('1 to 64')");
    assert_eq!(ann.errors(), Vec::<String>::new());
}

#[test]
fn a_page_asks_less_and_less_often_while_the_database_is_away() {
    let Some(driver) = Driver::start() else {
        skip("there is no chromedriver");
        return;
    };
    let database = Database::new();
    let proxy = database.proxy();
    let web = web_at(&proxy.url());
    let ann = driver.open(
        "ann",
        &format!("http://{}/pages/chat?room=a", web.address()),
    );
    ann.wait_for("document.getElementById('state').innerText === 'In a'");
    proxy.cut_all();
    drop(proxy);
    let opened =
        "chat_web_requests_total{method=\"GET\",route=\"/chat/ws/{client_id}\",status=\"101\"}";
    let before = web.client().metric(opened);
    assert!(before > 0);
    ann.wait_for(
        "(document.getElementById('room').value = 'b') && document.getElementById('entry').requestSubmit() === undefined",
    );
    std::thread::sleep(Duration::from_secs(5));
    let after = web.client().metric(opened);
    // The pauses are at most 0.25, 0.5, 1 and 2 s, and at least half of that.
    assert!(
        (before + 3..=before + 7).contains(&after),
        "{before} {after}"
    );
}

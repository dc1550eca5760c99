//! The report page in headless Chromium: light and dark, wide and narrow.

use std::process::Command;

use serde_json::Value;

use crate::outputs::Folder;
use crate::program::client_at;
use crate::server::{Answer, Log, Post, Server, honest};

/// A script for a copy of the page: measures what a user would see, and writes it to the title.
const PROBE: &str = "<script>addEventListener('load', () => {
  const style = (element) => getComputedStyle(element);
  const boxes = [...document.querySelectorAll('svg')].map((svg) => svg.getBoundingClientRect());
  const light = (color) => {
    const [red, green, blue] = color.match(/\\d+/g).map(Number);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const texts = [...document.querySelectorAll('svg text')].filter((text) => text.closest('svg'));
  const outside = texts.filter((text) => {
    const box = text.getBoundingClientRect(), area = text.closest('svg').getBoundingClientRect();
    return box.left < area.left - 1 || box.right > area.right + 1 || box.bottom > area.bottom + 1;
  });
  document.title = JSON.stringify({
    charts: boxes.filter((box) => box.width > 200 && box.height > 40).length,
    overflow: document.documentElement.scrollWidth - innerWidth,
    width: innerWidth,
    ground: light(style(document.body).backgroundColor),
    ink: light(style(document.body).color),
    outside: outside.map((text) => text.textContent),
    verdict: document.getElementById('verdict').textContent,
    color: style(document.getElementById('verdict')).color,
    pre: document.querySelectorAll('pre').length,
    accused: document.querySelectorAll('rect.accused').length,
  });
});</script>";

/// A theme of the page and a width of the window.
const VIEWS: [(&str, u32); 4] = [
    ("light", 1280),
    ("light", 500),
    ("dark", 1280),
    ("dark", 500),
];

fn chromium() -> Option<&'static str> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = names
        .into_iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok());
    if found.is_none() {
        write_line("SKIPPED: no Chromium here (Debian: apt-get install chromium)");
    }
    found
}

#[expect(clippy::print_stderr, reason = "a test that did not look must say so")]
fn write_line(text: &str) {
    eprintln!("{text}");
}

/// Opens the page in the browser; returns what [`PROBE`] measured, and the messages of the console.
fn inspect(
    browser: &str,
    folder: &Folder,
    page: &str,
    (theme, width): (&str, u32),
) -> (Value, Vec<String>) {
    let file = folder.file(&format!("{theme}{width}.html"));
    // The page's policy forbids scripts.
    let scriptable = page.replace(
        "default-src 'none'; style-src",
        "script-src 'unsafe-inline'; style-src",
    );
    assert_ne!(scriptable, page, "the page has its policy");
    std::fs::write(
        &file,
        scriptable.replace("</body>", &format!("{PROBE}</body>")),
    )
    .expect("a temporary file");
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            "--log-level=0",
        ])
        .arg(format!(
            "--user-data-dir={}",
            folder.file(&format!("profile-{theme}{width}"))
        ))
        .arg(format!(
            "--blink-settings=preferredColorScheme={}",
            u8::from(theme == "light")
        ))
        .arg(format!("--window-size={width},900"))
        .args(["--dump-dom", &format!("file://{file}")])
        .output()
        .expect("the browser starts");
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let title = dom
        .split_once("<title>")
        .and_then(|(_, rest)| rest.split_once("</title>"))
        .map(|(title, _)| title);
    let title = title
        .unwrap_or_else(|| panic!("no title in {dom} {log}"))
        .replace("&amp;", "&");
    let measured =
        serde_json::from_str(&title).unwrap_or_else(|error| panic!("{error}: {title} {log}"));
    (
        measured,
        log.lines()
            .filter(|line| line.contains("CONSOLE"))
            .map(str::to_owned)
            .collect(),
    )
}

fn page_of(server: &Server, folder: &Folder, arguments: &[&str]) -> String {
    let file = folder.file("report.html");
    client_at(
        &server.urls,
        &[&["-c", "10", "-n", "100", "--report", &file], arguments].concat(),
    );
    std::fs::read_to_string(&file).expect("the page was written")
}

fn loses_messages(log: &mut Log, post: &Post) -> Answer {
    let answer = honest(log, post);
    if post.number % 100 == 30 {
        log.messages.pop();
        *log.counters.entry(post.user.clone()).or_default() -= 1;
    }
    answer
}

#[test]
fn the_page_loads_nothing_and_runs_nothing() {
    let (server, folder) = (Server::start(2, loses_messages), Folder::new());
    let page = page_of(
        &server,
        &folder,
        &["--users", "<script>alert(1)</script>,bob"],
    );
    for forbidden in [
        "<script", "src=", "href=", "url(", "@import", "<link", "<img", "<iframe",
    ] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn the_page_is_readable_in_every_view() {
    let Some(browser) = chromium() else { return };
    let (server, folder) = (Server::start(2, loses_messages), Folder::new());
    let page = page_of(&server, &folder, &[]);
    for view in VIEWS {
        let (measured, console) = inspect(browser, &folder, &page, view);
        assert_eq!(console, Vec::<String>::new(), "{view:?}");
        let number = |name: &str| measured[name].as_f64().unwrap_or(f64::NAN);
        assert!(
            (number("width") - f64::from(view.1)).abs() < 32.0,
            "{view:?}: {measured}"
        );
        // Three charts, and three timelines with two highlighted requests each.
        assert!(
            number("charts") >= 6.0 && number("pre") >= 3.0 && number("accused") >= 6.0,
            "{view:?}: {measured}"
        );
        assert!(
            number("overflow") <= 0.0,
            "{view:?}: the page is wider than its window: {measured}"
        );
        assert_eq!(
            measured["outside"],
            Value::from(Vec::<String>::new()),
            "{view:?}"
        );
        assert_eq!(measured["verdict"], "INVALID: nothing lost", "{view:?}");
        let (ground, ink) = (number("ground"), number("ink"));
        assert_eq!(ground < ink, view.0 == "dark", "{view:?}: {measured}");
        assert!(
            (ground - ink).abs() > 150.0,
            "{view:?}: too little contrast: {measured}"
        );
    }
}

#[test]
fn an_error_on_the_console_would_be_seen() {
    let Some(browser) = chromium() else { return };
    let (server, folder) = (Server::start(1, honest), Folder::new());
    let page = page_of(&server, &folder, &[])
        .replace("</main>", "<script>undefined_function()</script></main>");
    let (_, console) = inspect(browser, &folder, &page, VIEWS[0]);
    assert!(
        console
            .iter()
            .any(|line| line.contains("undefined_function")),
        "{console:?}"
    );
}

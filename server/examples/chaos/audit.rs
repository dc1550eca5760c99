//! The history against the tables.

use std::collections::HashMap;
use std::error::Error;

use chrono::NaiveDateTime;
use mysql::prelude::Queryable;

use crate::load::{Outcome, Request, Shown};
use crate::scene::Scene;

/// What should be nowhere, and what became of requests of unknown outcome.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    pub(crate) stored: usize,
    /// Answered with 200, and not in the table as the reply showed it.
    pub(crate) lost: usize,
    /// The client was told that it is not stored, and it is.
    pub(crate) refused_and_stored: usize,
    /// In the table, and sent by nobody, or more than once.
    pub(crate) unexplained: usize,
    /// Rows of `ordering_violations`.
    pub(crate) violations: usize,
    pub(crate) unknown_stored: usize,
    pub(crate) unknown_absent: usize,
}

impl Audit {
    pub(crate) fn is_clean(&self) -> bool {
        self.lost + self.refused_and_stored + self.unexplained + self.violations == 0
    }
}

pub(crate) fn audit(scene: &Scene, history: &[Request]) -> Result<Audit, Box<dyn Error>> {
    let mut session = scene.session()?;
    let violations: Option<usize> =
        session.query_first("SELECT COUNT(*) FROM ordering_violations")?;
    let rows = session.query_map(
        "SELECT seq, user, user_seq, text, sent_at FROM messages",
        |(seq, user, user_seq, text, sent_at): (_, _, _, _, NaiveDateTime)| Shown {
            seq,
            user,
            user_seq,
            text,
            sent_at: sent_at.and_utc(),
        },
    )?;
    let mut audit = Audit {
        stored: rows.len(),
        violations: violations.unwrap_or_default(),
        ..Audit::default()
    };
    let mut by_text: HashMap<String, Shown> = HashMap::new();
    for row in rows {
        audit.unexplained += usize::from(by_text.insert(row.text.clone(), row).is_some());
    }
    for request in history {
        let row = by_text.remove(&request.text);
        match (&request.outcome, row) {
            (Outcome::Answered(shown), row) => {
                audit.lost += usize::from(row.as_ref() != Some(shown));
            }
            (Outcome::Failed, Some(_)) => audit.refused_and_stored += 1,
            (Outcome::Failed, None) => {}
            (Outcome::Unknown, Some(row)) if row.user == request.user => audit.unknown_stored += 1,
            (Outcome::Unknown, Some(_)) => audit.unexplained += 1,
            (Outcome::Unknown, None) => audit.unknown_absent += 1,
        }
    }
    audit.unexplained += by_text.len();
    Ok(audit)
}

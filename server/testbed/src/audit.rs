//! A history against the tables.

use std::collections::HashMap;

use chrono::NaiveDateTime;
use mysql::Conn;
use mysql::prelude::Queryable;

use crate::{Outcome, Request, Shown};

/// What should be nowhere, and what became of requests of unknown outcome.
#[derive(Debug, Default)]
pub struct Audit {
    /// Messages in the table.
    pub stored: usize,
    /// Messages that were answered with 200, and are not in the table as the reply showed them.
    pub lost: usize,
    /// Messages in the table of which the client was told that they are not stored.
    pub refused_and_stored: usize,
    /// Messages in the table that nobody sent, or that are there more than once.
    pub unexplained: usize,
    /// Rows of `ordering_violations`.
    pub violations: usize,
    /// Messages of unknown outcome that are in the table.
    pub unknown_stored: usize,
    /// Messages of unknown outcome that are not in the table.
    pub unknown_absent: usize,
}

impl Audit {
    /// Compares a history with the tables, from the message number `first` on: what is before it is of others.
    pub fn of(
        history: &[Request],
        connection: &mut Conn,
        first: u64,
    ) -> Result<Self, mysql::Error> {
        let violations: Option<usize> =
            connection.query_first("SELECT COUNT(*) FROM ordering_violations")?;
        let rows = connection.exec_map(
            "SELECT seq, user, user_seq, text, sent_at FROM messages WHERE seq >= ?",
            (first,),
            |(seq, user, user_seq, text, sent_at): (_, _, _, _, NaiveDateTime)| Shown {
                seq,
                user,
                user_seq,
                text,
                sent_at: sent_at.and_utc(),
            },
        )?;
        let mut audit = Self {
            stored: rows.len(),
            violations: violations.unwrap_or_default(),
            ..Self::default()
        };
        let mut by_text: HashMap<String, Shown> = HashMap::new();
        for row in rows {
            audit.unexplained += usize::from(by_text.insert(row.text.clone(), row).is_some());
        }
        for request in history {
            audit.count(request, by_text.remove(&request.text));
        }
        audit.unexplained += by_text.len();
        Ok(audit)
    }

    fn count(&mut self, request: &Request, row: Option<Shown>) {
        match (&request.outcome, row) {
            (Outcome::Answered(shown), row) => {
                self.lost += usize::from(row.as_ref() != Some(shown));
            }
            (Outcome::Failed, Some(_)) => self.refused_and_stored += 1,
            (Outcome::Failed, None) => {}
            (Outcome::Unknown, Some(row)) if row.user == request.user => self.unknown_stored += 1,
            (Outcome::Unknown, Some(_)) => self.unexplained += 1,
            (Outcome::Unknown, None) => self.unknown_absent += 1,
        }
    }

    /// Whether nothing is lost, made up or out of order.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost + self.refused_and_stored + self.unexplained + self.violations == 0
    }
}

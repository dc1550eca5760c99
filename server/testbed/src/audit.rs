//! Compares a history with the tables.

use std::collections::HashMap;
use std::io;

use chrono::NaiveDateTime;
use mysql::Conn;
use mysql::prelude::Queryable;

use crate::{Message, Outcome, Request};

/// Counts of violations, and of the outcomes of requests whose outcome the client does not know.
#[derive(Debug, Default)]
pub struct Audit {
    /// Messages in the table.
    pub stored: usize,
    /// Messages that were answered with 200, but are not in the table as the reply showed them.
    pub lost: usize,
    /// Messages in the table although the client was told that they are not stored.
    pub refused_and_stored: usize,
    /// Messages in the table that no client sent, or that are there more than once.
    pub unexplained: usize,
    /// Rows of `ordering_violations`.
    pub violations: usize,
    /// Messages of unknown outcome that are in the table.
    pub unknown_stored: usize,
    /// Messages of unknown outcome that are not in the table.
    pub unknown_absent: usize,
}

impl Audit {
    /// Compares a history with the messages from number `first` on; those before it are not of this history.
    pub fn of(history: &[Request], connection: &mut Conn, first: u64) -> io::Result<Self> {
        let violations = connection.query_first("SELECT COUNT(*) FROM ordering_violations");
        let violations: Option<usize> = violations.map_err(io::Error::other)?;
        let rows = connection.exec_map(
            "SELECT seq, user, user_seq, text, sent_at FROM messages WHERE seq >= ?",
            (first,),
            |(seq, user, user_seq, text, sent_at): (_, _, _, _, NaiveDateTime)| Message {
                seq,
                user,
                user_seq,
                text,
                sent_at: sent_at.and_utc(),
            },
        );
        let rows = rows.map_err(io::Error::other)?;
        let mut audit = Self {
            stored: rows.len(),
            violations: violations.unwrap_or_default(),
            ..Self::default()
        };
        let mut by_text: HashMap<String, Message> = HashMap::new();
        for row in rows {
            audit.unexplained += usize::from(by_text.insert(row.text.clone(), row).is_some());
        }
        for request in history {
            audit.count(request, by_text.remove(&request.text));
        }
        audit.unexplained += by_text.len();
        Ok(audit)
    }

    fn count(&mut self, request: &Request, row: Option<Message>) {
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

    /// Whether no message is lost, unexplained or out of order.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost + self.refused_and_stored + self.unexplained + self.violations == 0
    }
}

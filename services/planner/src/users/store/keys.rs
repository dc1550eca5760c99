//! The SQL of signing keys.

use foundation::mysql::{column, time};
use mysql::prelude::Queryable;
use mysql::{Conn, Row, Transaction, Value, params};

use super::{Result, record_change, transaction};
use crate::token::LEEWAY_S;
use crate::users::signing_keys::StoredKey;

/// Adds a key that begins to sign in `after_s` seconds, and later than all others, because the newest key that has begun is the
/// one that signs. Returns when it begins.
pub(super) fn insert_key(
    transaction: &mut Transaction<'_>,
    key: &StoredKey,
    after_s: u64,
) -> Result<Value> {
    let signs_from: Option<Value> = transaction.exec_first(
        r"SELECT
            GREATEST(
              NOW(6) + INTERVAL ? SECOND,
              COALESCE(MAX(signs_from) + INTERVAL 1 SECOND, NOW(6))
            )
          FROM signing_keys",
        (after_s,),
    )?;
    let signs_from = signs_from.ok_or(mysql::DriverError::UnexpectedPacket)?;
    transaction.exec_drop(
        r"INSERT INTO signing_keys (kid, public_key, private_key, sealed, signs_from)
          VALUES (:kid, :public_key, :private_key, :sealed, :signs_from)",
        params! {
            "kid" => &key.kid,
            "public_key" => &key.public_key,
            "private_key" => &key.private_key,
            "sealed" => key.sealed,
            "signs_from" => &signs_from,
        },
    )?;
    Ok(signs_from)
}

/// Adds a key that begins to sign in `after_s` seconds, and removes keys that have not begun. Tokens of the key that signs until
/// then are accepted for `old_verify_s` seconds more.
pub fn rotate_key(
    connection: &mut Conn,
    key: &StoredKey,
    after_s: u64,
    old_verify_s: u64,
) -> Result<()> {
    let mut transaction = transaction(connection)?;
    // Concurrent rotations wait for each other.
    transaction.query_drop(
        r"SELECT last
          FROM change_counter
          WHERE id = 1
          FOR UPDATE",
    )?;
    // A process whose clock is ahead may already sign with a key that begins within the leeway, so that key stays.
    transaction.exec_drop(
        r"DELETE FROM signing_keys
          WHERE verifies_until < NOW(6) OR signs_from > NOW(6) + INTERVAL ? SECOND",
        (LEEWAY_S,),
    )?;
    let signs_from = insert_key(&mut transaction, key, after_s)?;
    transaction.exec_drop(
        r"UPDATE signing_keys
          SET verifies_until = CAST(:signs_from AS DATETIME(6)) + INTERVAL :seconds SECOND
          WHERE signs_from < :signs_from
          ORDER BY signs_from DESC
          LIMIT 1",
        params! { signs_from, "seconds" => old_verify_s },
    )?;
    record_change(&mut transaction, None, 0)?;
    Ok(transaction.commit()?)
}

/// All keys whose tokens are or will be accepted.
pub fn keys(connection: &mut Conn) -> Result<Vec<StoredKey>> {
    let rows: Vec<Row> = connection.exec(
        r"SELECT kid, public_key, private_key, sealed, signs_from, verifies_until
          FROM signing_keys
          WHERE verifies_until IS NULL OR verifies_until > NOW(6)",
        (),
    )?;
    let key = |mut row: Row| {
        let verifies_until: Option<chrono::NaiveDateTime> = column(&mut row, 5)?;
        Ok(StoredKey {
            kid: column(&mut row, 0)?,
            public_key: column(&mut row, 1)?,
            private_key: column(&mut row, 2)?,
            sealed: column(&mut row, 3)?,
            signs_from: time(&mut row, 4)?.timestamp(),
            verifies_until: verifies_until.map(|until| until.and_utc().timestamp()),
        })
    };
    rows.into_iter().map(key).collect()
}

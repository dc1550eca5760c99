//! The SQL of signing keys.

use foundation::mysql::{column, time};
use mysql::prelude::Queryable;
use mysql::{Conn, Row, Transaction, params};

use super::{Result, announce, transaction};
use crate::users::signing_keys::StoredKey;

pub(super) fn insert_key(
    transaction: &mut Transaction<'_>,
    key: &StoredKey,
    after_s: u64,
) -> Result<()> {
    transaction.exec_drop(
        r"INSERT INTO signing_keys (kid, public_key, private_key, sealed, signs_from)
          VALUES (:kid, :public_key, :private_key, :sealed, NOW(6) + INTERVAL :after SECOND)",
        params! {
            "kid" => &key.kid,
            "public_key" => &key.public_key,
            "private_key" => &key.private_key,
            "sealed" => key.sealed,
            "after" => after_s,
        },
    )
}

/// Adds a key that signs in `after_s` seconds. Those of before verify for `old_verify_s` seconds from then on.
pub fn rotate_key(
    connection: &mut Conn,
    key: &StoredKey,
    after_s: u64,
    old_verify_s: u64,
) -> Result<()> {
    let mut transaction = transaction(connection)?;
    transaction.query_drop(
        r"DELETE FROM signing_keys
          WHERE verifies_until < NOW(6)",
    )?;
    transaction.exec_drop(
        r"UPDATE signing_keys
          SET verifies_until = NOW(6) + INTERVAL ? SECOND
          WHERE verifies_until IS NULL",
        (after_s + old_verify_s,),
    )?;
    insert_key(&mut transaction, key, after_s)?;
    announce(&mut transaction, None, 0)?;
    transaction.commit()
}

/// All keys.
pub fn keys(connection: &mut Conn) -> Result<Vec<StoredKey>> {
    let rows: Vec<Row> = connection.exec(
        r"SELECT kid, public_key, private_key, sealed, signs_from, verifies_until
          FROM signing_keys",
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

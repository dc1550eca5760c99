-- The planner's users, their sessions, and the keys that sign their tokens. The service applies this file at start if a part
-- of it is missing; `mysql DATABASE < schema-users.sql` does the same. It runs unchanged on MySQL and on MariaDB, and may run
-- repeatedly, and concurrently.
SET NAMES utf8mb4 COLLATE utf8mb4_bin;
SET SESSION TRANSACTION READ WRITE;
SET SESSION
  autocommit = 1,
  completion_type = 0,
  sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION',
  unique_checks = 1;

CREATE TABLE IF NOT EXISTS users (
  id               BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  -- Compared code point by code point.
  login            VARCHAR(64)     NOT NULL,
  first_name       VARCHAR(64)     NOT NULL,
  last_name        VARCHAR(64)     NOT NULL,
  -- The names in lower case, for masks that ignore the case. Computed by the service, because databases do not know the case of
  -- all scripts. Wider, because some letters have more than one letter as their lower case.
  first_name_lower VARCHAR(128)    NOT NULL,
  last_name_lower  VARCHAR(128)    NOT NULL,
  -- 'user' or 'admin'.
  role             VARCHAR(8)      NOT NULL,
  -- In the PHC string format, which names the algorithm, its costs and the salt.
  password_hash    VARCHAR(255)    NOT NULL,
  -- Grows with each change. The ETag is made from it, and caches compare it to find the newer row.
  version          BIGINT UNSIGNED NOT NULL DEFAULT 1,
  created_at       DATETIME(6)     NOT NULL,

  PRIMARY KEY (id),
  UNIQUE KEY login (login),
  KEY first_name_lower (first_name_lower),
  KEY last_name_lower (last_name_lower)
)
ENGINE = InnoDB
DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Sessions, each from a login to its end: a family of refresh tokens, one of which is the current one.
CREATE TABLE IF NOT EXISTS sessions (
  id           BINARY(16)      NOT NULL,
  user_id      BIGINT UNSIGNED NOT NULL,
  -- Part of each refresh token of the session, so that a token that is not the current one is recognized as its own.
  family       BINARY(16)      NOT NULL,
  -- SHA-256 of the secret in the current refresh token.
  token_hash   BINARY(32)      NOT NULL,
  created_at   DATETIME(6)     NOT NULL,
  refreshed_at DATETIME(6)     NOT NULL,
  expires_at   DATETIME(6)     NOT NULL,

  PRIMARY KEY (id),
  UNIQUE KEY family (family),
  KEY user_id (user_id, created_at),
  KEY expires_at (expires_at),
  CONSTRAINT session_of_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
)
ENGINE = InnoDB
DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS signing_keys (
  kid            VARCHAR(36)    NOT NULL,
  public_key     BINARY(32)     NOT NULL,
  -- 32 bytes; if it is sealed, with a nonce before and a tag behind them.
  private_key    VARBINARY(128) NOT NULL,
  sealed         BOOLEAN        NOT NULL,
  -- Later than the key was created, so that all processes know the key before they receive a token signed by it.
  signs_from     DATETIME(6)    NOT NULL,
  -- Set when another key replaces this one: at this time its last tokens have expired.
  verifies_until DATETIME(6)    NULL,

  PRIMARY KEY (kid)
)
ENGINE = InnoDB
DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Changes of users and keys, for the caches of all processes, in the order of the commits.
CREATE TABLE IF NOT EXISTS changes (
  seq        BIGINT UNSIGNED NOT NULL,
  -- NULL: the signing keys have changed.
  user_id    BIGINT UNSIGNED NULL,
  -- Older versions must not be served any more.
  version    BIGINT UNSIGNED NOT NULL,
  changed_at DATETIME(6)     NOT NULL,

  PRIMARY KEY (seq)
)
ENGINE = InnoDB
DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The number of the last change. Each transaction with a change locks this row until COMMIT, so changes become visible in the
-- order of their numbers, and none is ever seen before an earlier one.
CREATE TABLE IF NOT EXISTS change_counter (
  id   TINYINT UNSIGNED NOT NULL,
  last BIGINT UNSIGNED  NOT NULL,

  PRIMARY KEY (id)
)
ENGINE = InnoDB
DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Inserted last, because the service concludes from its presence that the rest exists.
INSERT IGNORE INTO change_counter (id, last) VALUES (1, 0);
-- The session that runs this file may have begun a transaction.
COMMIT;

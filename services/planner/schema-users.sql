-- The planner's users, their sessions, and the keys that sign their tokens. The service applies this file at start where
-- something of it is missing; `mysql DATABASE < schema-users.sql` does the same. It runs unchanged on MySQL and on MariaDB,
-- and may run twice, or twice at once.
SET NAMES utf8mb4 COLLATE utf8mb4_bin;
SET SESSION TRANSACTION READ WRITE;
SET SESSION
  autocommit = 1,
  completion_type = 0,
  sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION',
  unique_checks = 1;

CREATE TABLE IF NOT EXISTS users (
  id               BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  -- Equal only code point by code point.
  login            VARCHAR(64)     NOT NULL,
  first_name       VARCHAR(64)     NOT NULL,
  last_name        VARCHAR(64)     NOT NULL,
  -- Masks are compared with these, whatever their case. The service makes them, as databases do not know the case of all
  -- scripts. Wider, for letters whose lower case is more than one.
  first_name_lower VARCHAR(128)    NOT NULL,
  last_name_lower  VARCHAR(128)    NOT NULL,
  -- 'user' or 'admin'.
  role             VARCHAR(8)      NOT NULL,
  -- In the PHC string format, which names the algorithm, its costs and the salt.
  password_hash    VARCHAR(255)    NOT NULL,
  -- Grows with each change: the ETag, and what tells an older row from a newer one.
  version          BIGINT UNSIGNED NOT NULL DEFAULT 1,
  created_at       DATETIME(6)     NOT NULL,

  PRIMARY KEY (id),
  UNIQUE KEY login (login),
  KEY first_name_lower (first_name_lower),
  KEY last_name_lower (last_name_lower)
)
ENGINE = InnoDB
DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- A login, as long as it goes on: the family of refresh tokens that followed from it, of which one is the current.
CREATE TABLE IF NOT EXISTS sessions (
  id           BINARY(16)      NOT NULL,
  user_id      BIGINT UNSIGNED NOT NULL,
  -- Stands in each refresh token of the session, so that one that is not the current is known for its own.
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
  -- 32 bytes; behind a nonce and before a tag if it is sealed.
  private_key    VARBINARY(128) NOT NULL,
  sealed         BOOLEAN        NOT NULL,
  -- Later than the key was made, so that all know it before they meet a token of it.
  signs_from     DATETIME(6)    NOT NULL,
  -- Set when another key follows: until then its last tokens are over.
  verifies_until DATETIME(6)    NULL,

  PRIMARY KEY (kid)
)
ENGINE = InnoDB
DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What was changed, for the caches of all processes, in the order of the commits.
CREATE TABLE IF NOT EXISTS changes (
  seq        BIGINT UNSIGNED NOT NULL,
  -- None: the signing keys.
  user_id    BIGINT UNSIGNED NULL,
  -- What is older is not to be shown any more.
  version    BIGINT UNSIGNED NOT NULL,
  changed_at DATETIME(6)     NOT NULL,

  PRIMARY KEY (seq)
)
ENGINE = InnoDB
DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The number of the last change. Its row is locked up to COMMIT by whoever changes something, so changes become visible in
-- the order of their numbers, and none is ever seen before an earlier one.
CREATE TABLE IF NOT EXISTS change_counter (
  id   TINYINT UNSIGNED NOT NULL,
  last BIGINT UNSIGNED  NOT NULL,

  PRIMARY KEY (id)
)
ENGINE = InnoDB
DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Last, because the service takes its presence for a sign that all the rest is there.
INSERT IGNORE INTO change_counter (id, last) VALUES (1, 0);
-- Whoever runs this file may have begun a transaction around it.
COMMIT;

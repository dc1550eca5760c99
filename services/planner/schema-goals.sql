-- The planner's goals, their tasks, and the history of the tasks. The service applies this file at start if a part of it is
-- missing; `mysql DATABASE < schema-goals.sql` does the same. It runs unchanged on MySQL and on MariaDB, and may run
-- repeatedly, and concurrently.
SET NAMES utf8mb4 COLLATE utf8mb4_bin;
SET SESSION TRANSACTION READ WRITE;
SET SESSION
  autocommit = 1,
  completion_type = 0,
  sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION',
  unique_checks = 1;

CREATE TABLE IF NOT EXISTS goals (
  id          BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  -- The id of a user of the users service, from the token.
  owner_id    BIGINT UNSIGNED NOT NULL,
  title       VARCHAR(200)    NOT NULL,
  description VARCHAR(4096)   NULL,
  due         DATE            NULL,
  created_at  DATETIME(6)     NOT NULL,
  -- The number of tasks with each status: updated in the transaction that changes a task, under the lock of this row.
  todo        INT UNSIGNED    NOT NULL DEFAULT 0,
  in_progress INT UNSIGNED    NOT NULL DEFAULT 0,
  done        INT UNSIGNED    NOT NULL DEFAULT 0,
  cancelled   INT UNSIGNED    NOT NULL DEFAULT 0,

  PRIMARY KEY (id)
)
ENGINE = InnoDB
DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS tasks (
  id          BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  goal_id     BIGINT UNSIGNED NOT NULL,
  title       VARCHAR(200)    NOT NULL,
  description VARCHAR(4096)   NULL,
  assignee_id BIGINT UNSIGNED NULL,
  due         DATE            NULL,
  -- 'low', 'normal' or 'high'.
  priority    VARCHAR(8)      NOT NULL,
  -- 'todo', 'in_progress', 'done' or 'cancelled'.
  status      VARCHAR(16)     NOT NULL,
  created_at  DATETIME(6)     NOT NULL,

  PRIMARY KEY (id),
  KEY of_goal (goal_id, id),
  CONSTRAINT task_of_goal FOREIGN KEY (goal_id) REFERENCES goals (id) ON DELETE CASCADE
)
ENGINE = InnoDB
DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Each change of a task's status. Created last, because the service concludes from its presence that the rest exists.
CREATE TABLE IF NOT EXISTS history (
  id          BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  task_id     BIGINT UNSIGNED NOT NULL,
  user_id     BIGINT UNSIGNED NOT NULL,
  from_status VARCHAR(16)     NOT NULL,
  to_status   VARCHAR(16)     NOT NULL,
  changed_at  DATETIME(6)     NOT NULL,

  PRIMARY KEY (id),
  KEY of_task (task_id, id),
  CONSTRAINT history_of_task FOREIGN KEY (task_id) REFERENCES tasks (id) ON DELETE CASCADE
)
ENGINE = InnoDB
DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

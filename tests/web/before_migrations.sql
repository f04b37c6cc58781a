-- The server's tables as the version before migrations made them, for SQLite and PostgreSQL.

CREATE TABLE web_about (
  "key" VARCHAR(100) NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY ("key")
);
CREATE TABLE web_assignments (
  id VARCHAR(40) NOT NULL,
  project VARCHAR(64) NOT NULL,
  item VARCHAR(80) NOT NULL,
  account VARCHAR(40) NOT NULL,
  purpose VARCHAR(10) NOT NULL,
  turn INTEGER NOT NULL,
  shown TEXT NOT NULL,
  state VARCHAR(10) NOT NULL,
  given FLOAT NOT NULL,
  until FLOAT NOT NULL,
  ended FLOAT,
  seconds FLOAT,
  draft TEXT NOT NULL,
  PRIMARY KEY (id)
);
CREATE INDEX web_assignments_item ON web_assignments (project, item, account);
CREATE INDEX web_assignments_leases ON web_assignments (project, state, until);
CREATE UNIQUE INDEX web_assignments_once ON web_assignments (project, item, account, turn);
CREATE INDEX web_assignments_person ON web_assignments (project, account, state);
CREATE TABLE web_items (
  project VARCHAR(64) NOT NULL,
  id VARCHAR(80) NOT NULL,
  screen TEXT NOT NULL,
  gold TEXT NOT NULL,
  tags TEXT NOT NULL,
  place INTEGER NOT NULL,
  information FLOAT NOT NULL,
  done INTEGER NOT NULL,
  leased INTEGER NOT NULL,
  PRIMARY KEY (project, id)
);
CREATE INDEX web_items_open ON web_items (project, gold, leased, done, place);
CREATE TABLE web_projects (
  name VARCHAR(64) NOT NULL,
  text TEXT NOT NULL,
  run TEXT NOT NULL,
  closed TEXT,
  created FLOAT NOT NULL,
  PRIMARY KEY (name)
);
CREATE TABLE web_quarantines (
  project VARCHAR(64) NOT NULL,
  account VARCHAR(40) NOT NULL,
  decision TEXT NOT NULL,
  PRIMARY KEY (project, account)
);
CREATE TABLE desk_accounts (
  id VARCHAR(32) NOT NULL,
  name VARCHAR(80) NOT NULL,
  password TEXT NOT NULL,
  role VARCHAR(16) NOT NULL,
  profile TEXT NOT NULL,
  created FLOAT NOT NULL,
  disabled BOOLEAN NOT NULL,
  PRIMARY KEY (id),
  UNIQUE (name)
);
CREATE TABLE desk_failures (
  "key" VARCHAR(160) NOT NULL,
  at FLOAT NOT NULL
);
CREATE INDEX desk_failures_key ON desk_failures ("key", at);
CREATE TABLE desk_invitations (
  secret VARCHAR(64) NOT NULL,
  role VARCHAR(16) NOT NULL,
  profile TEXT NOT NULL,
  "by" VARCHAR(32) NOT NULL,
  expires FLOAT NOT NULL,
  used_by VARCHAR(32),
  PRIMARY KEY (secret)
);
CREATE TABLE desk_sessions (
  secret VARCHAR(64) NOT NULL,
  account VARCHAR(32) NOT NULL,
  csrf VARCHAR(64) NOT NULL,
  created FLOAT NOT NULL,
  seen FLOAT NOT NULL,
  PRIMARY KEY (secret)
);
CREATE INDEX ix_desk_sessions_account ON desk_sessions (account);
CREATE TABLE desk_tokens (
  secret VARCHAR(64) NOT NULL,
  id VARCHAR(32) NOT NULL,
  account VARCHAR(32) NOT NULL,
  name VARCHAR(80) NOT NULL,
  scopes TEXT NOT NULL,
  created FLOAT NOT NULL,
  expires FLOAT NOT NULL,
  PRIMARY KEY (secret),
  UNIQUE (id)
);
CREATE INDEX ix_desk_tokens_account ON desk_tokens (account);
INSERT INTO web_about ("key", value) VALUES ('format', '1');

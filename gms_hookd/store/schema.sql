-- The schema, step by step; a blank line ends a statement. Steps that were released
-- never change.

-- Step 1: tasks, runs, deliveries.

CREATE TABLE tasks(
        id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL UNIQUE, source TEXT NOT NULL, target TEXT NOT NULL,
        refspecs TEXT NOT NULL, force INTEGER NOT NULL, prune INTEGER NOT NULL,
        enabled INTEGER NOT NULL, timeout REAL, cache TEXT NOT NULL,
        host TEXT NOT NULL, path TEXT NOT NULL,
        created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL,
        push_options TEXT NOT NULL DEFAULT '[]');

CREATE INDEX tasks_of_source ON tasks(path, host);

-- What a user may look up stays when the task goes: the run has its own copy.
CREATE TABLE runs(
        id INTEGER PRIMARY KEY AUTOINCREMENT, task_id INTEGER NOT NULL,
        task_key TEXT NOT NULL, task_name TEXT NOT NULL,
        status TEXT NOT NULL CHECK(status IN
            ('queued','running','success','conflict','failed','cancelled')),
        attempt INTEGER NOT NULL DEFAULT 0, failures INTEGER NOT NULL DEFAULT 0,
        crashes REAL NOT NULL DEFAULT 0, trigger TEXT NOT NULL,
        confirmed INTEGER NOT NULL DEFAULT 0, hint TEXT, cache TEXT,
        due_ms INTEGER NOT NULL, created_ms INTEGER NOT NULL,
        started_ms INTEGER, ended_ms INTEGER,
        commit_range TEXT NOT NULL DEFAULT '', error_message TEXT NOT NULL DEFAULT '',
        refs BLOB, details BLOB);

CREATE UNIQUE INDEX runs_one_queued ON runs(task_id) WHERE status='queued';

CREATE UNIQUE INDEX runs_one_running ON runs(task_id) WHERE status='running';

CREATE UNIQUE INDEX runs_one_a_cache ON runs(cache) WHERE status='running';

CREATE INDEX runs_due ON runs(due_ms) WHERE status='queued';

-- It gets a page of its own for each task: triggers that come together would write
-- them all, so a run joins when it has ended.
CREATE INDEX runs_of_task ON runs(task_id, id)
        WHERE status IN ('success','conflict','failed','cancelled');

CREATE INDEX runs_by_status ON runs(status, id);

CREATE INDEX runs_ended ON runs(ended_ms)
        WHERE status IN ('success','conflict','failed','cancelled');

-- A queued run that joined an older one of its task lives on as a pointer to it.
CREATE TABLE merged(id INTEGER PRIMARY KEY, run_id INTEGER NOT NULL);

CREATE INDEX merged_into ON merged(run_id);

-- No id is ever given twice: the newest delivery is never deleted.
CREATE TABLE deliveries(
        id INTEGER PRIMARY KEY, hook TEXT NOT NULL,
        provider TEXT NOT NULL, event TEXT, delivery_key TEXT, digest BLOB,
        received_ms INTEGER NOT NULL, client TEXT NOT NULL, status INTEGER NOT NULL,
        reason TEXT NOT NULL, task_ids TEXT NOT NULL DEFAULT '[]');

CREATE INDEX deliveries_of_hook ON deliveries(hook, id);

CREATE INDEX deliveries_by_key ON deliveries(hook, delivery_key)
        WHERE delivery_key IS NOT NULL;

CREATE TABLE parcels(
        delivery_id INTEGER PRIMARY KEY REFERENCES deliveries(id) ON DELETE CASCADE,
        headers TEXT NOT NULL, body BLOB);

CREATE INDEX parcels_with_body ON parcels(delivery_id) WHERE body IS NOT NULL;

CREATE TABLE callbacks(
        delivery_id INTEGER PRIMARY KEY REFERENCES deliveries(id) ON DELETE CASCADE,
        url TEXT NOT NULL, tries INTEGER NOT NULL DEFAULT 0,
        due_ms INTEGER NOT NULL);

CREATE TABLE links(
        delivery_id INTEGER NOT NULL REFERENCES deliveries(id) ON DELETE CASCADE,
        run_id INTEGER NOT NULL, PRIMARY KEY(delivery_id, run_id)) WITHOUT ROWID;

CREATE INDEX links_of_run ON links(run_id, delivery_id);

-- The target's tips as our last push left them, for the next run's lease.
CREATE TABLE tips(
        task_id INTEGER NOT NULL REFERENCES tasks(id) ON DELETE CASCADE,
        ref BLOB NOT NULL, oid TEXT NOT NULL,
        PRIMARY KEY(task_id, ref)) WITHOUT ROWID;

CREATE TABLE checks(
        task_id INTEGER PRIMARY KEY REFERENCES tasks(id) ON DELETE CASCADE,
        due_ms INTEGER NOT NULL, digest BLOB);

-- Step 2: deliveries know their run, runs their range.

-- Nearly always one run serves a delivery; its own row says so. Others are links.
ALTER TABLE deliveries ADD COLUMN run_id INTEGER;

UPDATE deliveries
        SET run_id=(SELECT min(l.run_id) FROM links l WHERE l.delivery_id=deliveries.id)
        WHERE id IN (SELECT delivery_id FROM links);

DELETE FROM links WHERE run_id=
        (SELECT d.run_id FROM deliveries d WHERE d.id=links.delivery_id);

-- An index by run would get a page for each run that triggers come for together. A
-- run knows instead between which deliveries its own are: all that came after one,
-- up to the last before it was claimed or cancelled.
ALTER TABLE runs ADD COLUMN after_delivery INTEGER NOT NULL DEFAULT 0;

ALTER TABLE runs ADD COLUMN last_delivery INTEGER;

CREATE INDEX for_now ON deliveries(run_id);

UPDATE runs SET after_delivery=coalesce(
        (SELECT min(id)-1 FROM deliveries WHERE run_id=runs.id),
        (SELECT max(id) FROM deliveries), 0);

UPDATE runs SET last_delivery=coalesce(
        (SELECT max(id) FROM deliveries WHERE run_id=runs.id), after_delivery)
        WHERE status<>'queued';

DROP INDEX for_now;

-- Who lists the deliveries of a rare hook can wait longer than a sender.
DROP INDEX deliveries_of_hook;

-- Step 3: tasks by host and path.
-- A task is found by host and path as giturl has them: a new spelling, a new step.

UPDATE tasks SET host=host_of(source), path=path_of(source);

-- Step 4: confirmed deletions.
-- What a person confirmed for the next attempt of a run: these deletions. `confirmed`,
-- which said so of any, is no longer read.

ALTER TABLE runs ADD COLUMN deletions BLOB;

-- Step 5: when targets were seen.
-- When the target of a task was last found to be as its tips say, by both clocks.

CREATE TABLE seen(
        task_id INTEGER PRIMARY KEY REFERENCES tasks(id) ON DELETE CASCADE,
        wall_ms INTEGER NOT NULL, up_ms INTEGER NOT NULL);

-- Step 6: a clock that jumps.

-- No due time is further away than the delay that was set for its run.
ALTER TABLE runs ADD COLUMN delay_ms INTEGER NOT NULL DEFAULT 0;

UPDATE runs SET delay_ms=900000 WHERE status='queued' AND attempt>0;

-- The wall clock at the last look, and how long it is not to be believed.
CREATE TABLE clock(id INTEGER PRIMARY KEY CHECK(id=1),
        wall_ms INTEGER NOT NULL, up_ms INTEGER NOT NULL, doubt_ms INTEGER NOT NULL);

-- Step 7: notices.
-- The outbox, and what is known of tasks whose last run did not succeed.

CREATE TABLE notices(
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
        target TEXT NOT NULL, event TEXT NOT NULL, task_id INTEGER,
        task_name TEXT NOT NULL DEFAULT '', run_id INTEGER,
        status TEXT NOT NULL CHECK(status IN ('waiting','sent','dead','dropped')),
        attempts INTEGER NOT NULL DEFAULT 0,
        next_ms INTEGER NOT NULL, delay_ms INTEGER NOT NULL DEFAULT 0,
        created_ms INTEGER NOT NULL, sent_ms INTEGER, error TEXT NOT NULL DEFAULT '',
        failures INTEGER NOT NULL DEFAULT 0, since_ms INTEGER,
        reminder INTEGER NOT NULL DEFAULT 0, came_from TEXT, batch TEXT, said TEXT);

CREATE INDEX notices_of_target ON notices(target, status, number);

CREATE INDEX notices_waiting ON notices(target, number) WHERE status='waiting';

CREATE INDEX notices_by_age ON notices(created_ms);

CREATE TABLE failing(
        task_id INTEGER PRIMARY KEY REFERENCES tasks(id) ON DELETE CASCADE,
        run_id INTEGER NOT NULL, since_ms INTEGER NOT NULL, failures INTEGER NOT NULL,
        kinds TEXT NOT NULL, looked_ms INTEGER NOT NULL);

-- Step 8: schedules.
-- The schedule of a task; when it is met next, and at what time that was found out.

ALTER TABLE tasks ADD COLUMN cron TEXT NOT NULL DEFAULT '';

ALTER TABLE tasks ADD COLUMN next_cron_ms INTEGER;

ALTER TABLE tasks ADD COLUMN cron_from_ms INTEGER;

CREATE INDEX tasks_scheduled ON tasks(next_cron_ms, cron_from_ms)
        WHERE cron_from_ms IS NOT NULL;

-- Step 9: outcomes of deliveries.
-- How a delivery's runs ended is told by the outbox too, to where the delivery says.

ALTER TABLE notices ADD COLUMN url TEXT;

ALTER TABLE notices ADD COLUMN delivery_id INTEGER;

INSERT INTO notices(id,target,event,status,attempts,next_ms,created_ms,run_id,
        url,delivery_id)
        SELECT 'msg_'||lower(hex(randomblob(16))),'dockerhub:'||d.hook,'ended',
        'waiting',c.tries,c.due_ms,d.received_ms,d.run_id,c.url,d.id
        FROM callbacks c JOIN deliveries d ON d.id=c.delivery_id ORDER BY d.id;

DROP TABLE callbacks;

-- Step 10: undoing runs.

-- What a run is to put back: the id of another, and what that one did.
ALTER TABLE runs ADD COLUMN undo BLOB;

-- Where it pushed to, which its task may have left since.
ALTER TABLE runs ADD COLUMN target TEXT;

UPDATE runs SET target=(SELECT t.target FROM tasks t WHERE t.id=runs.task_id
        AND t.updated_ms<=runs.started_ms) WHERE refs IS NOT NULL;

-- Step 11: runs by their ends.
-- Runs are counted by how and when they ended in the index alone.

DROP INDEX runs_ended;

CREATE INDEX runs_ended ON runs(status, ended_ms)
        WHERE status IN ('success','conflict','failed','cancelled');

-- Step 12: troubles.
-- Troubles of the daemon that were told and last.

ALTER TABLE notices ADD COLUMN condition TEXT;

CREATE TABLE conditions(name TEXT PRIMARY KEY, since_ms INTEGER NOT NULL);

-- Step 13: patterns.

-- How many tasks a pattern may make; NULL for what is no pattern.
ALTER TABLE tasks ADD COLUMN most INTEGER;

ALTER TABLE tasks ADD COLUMN create_target INTEGER NOT NULL DEFAULT 0;

ALTER TABLE tasks ADD COLUMN pattern_id INTEGER;

CREATE INDEX patterns ON tasks(id) WHERE most IS NOT NULL;

CREATE INDEX tasks_of_pattern ON tasks(pattern_id) WHERE pattern_id IS NOT NULL;

CREATE INDEX tasks_alike ON tasks(name COLLATE NOCASE);

CREATE INDEX tasks_by_target ON tasks(target COLLATE NOCASE);

-- Step 14: deliveries by hook.

-- Filled when there is time: see by_hook.py.
CREATE TABLE by_hook(
        name TEXT NOT NULL, delivery_id INTEGER NOT NULL,
        PRIMARY KEY(name, delivery_id)) WITHOUT ROWID;

CREATE TABLE noted(id INTEGER PRIMARY KEY CHECK(id=1),
        delivery_id INTEGER NOT NULL);

CREATE TRIGGER by_hook_too AFTER DELETE ON deliveries BEGIN
        DELETE FROM by_hook WHERE name=old.hook AND delivery_id=old.id; END;

-- Step 15: tallies by hour.
-- To count the runs of 30 days took most of the status page's time; a row an hour is
-- right whatever ends, dates or deletes a run.

CREATE TABLE tallies(
        hour INTEGER PRIMARY KEY, success INTEGER NOT NULL, conflict INTEGER NOT NULL,
        failed INTEGER NOT NULL, cancelled INTEGER NOT NULL);

INSERT INTO tallies SELECT ended_ms/3600000,sum(status='success'),
        sum(status='conflict'),sum(status='failed'),sum(status='cancelled') FROM runs
        WHERE ended_ms IS NOT NULL GROUP BY 1;

CREATE TRIGGER end_counted AFTER UPDATE OF ended_ms ON runs
        WHEN new.ended_ms IS NOT NULL BEGIN INSERT INTO tallies
    SELECT new.ended_ms/3600000,new.status='success',new.status='conflict',
    new.status='failed',new.status='cancelled' WHERE true
    ON CONFLICT DO UPDATE SET success=success+excluded.success,
    conflict=conflict+excluded.conflict,failed=failed+excluded.failed,
    cancelled=cancelled+excluded.cancelled; END;

CREATE TRIGGER end_changed AFTER UPDATE OF ended_ms ON runs
        WHEN old.ended_ms IS NOT NULL BEGIN UPDATE tallies SET success=success-(old.status='success'),
    conflict=conflict-(old.status='conflict'),failed=failed-(old.status='failed'),
    cancelled=cancelled-(old.status='cancelled') WHERE hour=old.ended_ms/3600000;
    DELETE FROM tallies
    WHERE hour=old.ended_ms/3600000 AND success+conflict+failed+cancelled<1; END;

CREATE TRIGGER end_forgotten AFTER DELETE ON runs
        WHEN old.ended_ms IS NOT NULL BEGIN UPDATE tallies SET success=success-(old.status='success'),
    conflict=conflict-(old.status='conflict'),failed=failed-(old.status='failed'),
    cancelled=cancelled-(old.status='cancelled') WHERE hour=old.ended_ms/3600000;
    DELETE FROM tallies
    WHERE hour=old.ended_ms/3600000 AND success+conflict+failed+cancelled<1; END;

-- Step 16: runs for metrics.
-- Metrics ask of each task how it fares: read in the index alone, since its runs lie
-- among those of all others, a page each.

DROP INDEX runs_of_task;

CREATE INDEX runs_of_task ON runs(task_id, id, status, ended_ms)
        WHERE status IN ('success','conflict','failed','cancelled');

-- Step 17: whole names of hosts.
-- A host was known without an "ssh." in its midst. What has no host stays without:
-- patterns, and what is on this machine.

UPDATE tasks SET host=host_of(source) WHERE host<>'' AND host<>host_of(source);

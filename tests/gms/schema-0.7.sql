-- What newer versions have added.
ALTER TABLE `sync_tasks` ADD `name` text;
ALTER TABLE `sync_tasks` ADD `sync_mode` text DEFAULT "single";
ALTER TABLE `sync_tasks` ADD `git_tags` numeric;
ALTER TABLE `sync_tasks` ADD `git_force` numeric;
ALTER TABLE `sync_tasks` ADD `git_prune` numeric;
ALTER TABLE `sync_tasks` ADD `git_no_verify` numeric;
ALTER TABLE `sync_tasks` ADD `webhook_token` text;
ALTER TABLE `sync_tasks` ADD `last_status` text;
ALTER TABLE `sync_tasks` ADD `last_run_at` datetime;

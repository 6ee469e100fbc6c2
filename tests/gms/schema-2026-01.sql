-- As gorm makes them for biz/model/po/sync_task.go and repo.go of git-manage-service.
CREATE TABLE `repos` (`id` integer PRIMARY KEY AUTOINCREMENT,`created_at` datetime,`updated_at` datetime,`deleted_at` datetime,`key` text,`name` text,`path` text,`remote_url` text,`auth_type` text,`auth_key` text,`auth_secret` text,`config_source` text,`remote_auths_json` text);
CREATE INDEX `idx_repos_deleted_at` ON `repos`(`deleted_at`);
CREATE UNIQUE INDEX `idx_repos_key` ON `repos`(`key`);
CREATE UNIQUE INDEX `idx_repos_name` ON `repos`(`name`);
CREATE TABLE `sync_tasks` (`id` integer PRIMARY KEY AUTOINCREMENT,`created_at` datetime,`updated_at` datetime,`deleted_at` datetime,`key` text,`source_repo_key` text,`source_remote` text,`source_branch` text,`target_repo_key` text,`target_remote` text,`target_branch` text,`push_options` text,`cron` text,`enabled` numeric,CONSTRAINT `fk_sync_tasks_source_repo` FOREIGN KEY (`source_repo_key`) REFERENCES `repos`(`key`),CONSTRAINT `fk_sync_tasks_target_repo` FOREIGN KEY (`target_repo_key`) REFERENCES `repos`(`key`));
CREATE INDEX `idx_sync_tasks_deleted_at` ON `sync_tasks`(`deleted_at`);
CREATE UNIQUE INDEX `idx_sync_tasks_key` ON `sync_tasks`(`key`);
CREATE TABLE `sync_runs` (`id` integer PRIMARY KEY AUTOINCREMENT,`created_at` datetime,`updated_at` datetime,`deleted_at` datetime,`task_key` text,`status` text,`commit_range` text,`error_message` text,`details` text,`start_time` datetime,`end_time` datetime);

//! One integration binary; each module tells one story.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that can't go on fails, and rotates logs itself"
)]

mod archive_command;
mod archive_crashes;
mod archives;
mod attempts;
mod broken_configuration;
mod cgroups;
mod channels;
mod clock_steps;
mod collecting;
mod commands;
mod containers;
mod copies;
mod cron_oracle;
mod cron_vectors;
mod cuts;
mod daemon;
mod demo;
mod encryption;
mod faults;
mod follow;
mod forgeries;
mod formats;
mod heartbeat;
mod hostile_files;
mod hostile_lines;
mod import;
mod job_mail;
mod journal;
mod loggen;
mod mail;
mod offices;
mod outbox;
mod planner_model;
mod policies;
mod progress;
mod reports;
mod rotating;
mod rules;
mod run_now;
mod scan_command;
mod scan_model;
mod service;
mod sources;
mod spikes;
mod stats;
mod storms;
mod support;
mod truths;
mod windows;

//! # logkeeper
//!
//! ```text
//!     config/ + jobs/ ─▶ Schedule ─▶ Runner ─▶ Job
//!                                     │        ├─ scan     Source ▶ Line ▶ Parser ▶ Event ▶ Detector ▶ Finding
//!                                     │        ├─ archive  Source ▶ Bundle ▶ verified Archive
//!                                     ▼        ├─ report   Store ▶ Report ▶ mail
//!                                  Run row     └─ command  child process ▶ captured output
//!                                     └──────────┬────────────┘
//!                                              Store ─▶ Outbox ─▶ Notifier
//! ```
pub mod api;
pub mod archive;
pub mod cli;
pub mod clock;
pub mod config;
pub mod copies;
pub mod crontab;
pub mod daemon;
pub mod demo;
pub mod detect;
pub mod digest;
pub mod fs;
pub mod jobs;
pub mod logrotate;
pub mod logs;
pub mod model;
pub mod notify;
pub mod packed;
pub mod parse;
pub mod report;
pub mod runner;
pub mod schedule;
pub mod store;
pub mod supervise;
pub mod threads;

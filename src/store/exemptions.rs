//! Who is let alone by every rule for a while.

use chrono::{DateTime, Utc};
use rusqlite::params;

use super::{Result, Store, corrupt};
use crate::model::Exemption;

impl Store {
    /// Has every rule let somebody alone; a new word about the same replaces the old one, and lengthens it if that goes on.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn exempt(&self, exemption: &Exemption) -> Result<()> {
        let sql = "INSERT INTO exemptions (who, since, until, why) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT (who) DO UPDATE SET since = iif(until >= ?2, min(since, ?2), ?2), until = ?3, why = ?4";
        let Exemption { who, since, until, why } = exemption;
        self.write(|db| db.execute(sql, params![who.to_string(), since, until, why]).map(drop))
    }

    /// Ends an exemption at an instant; what happened before it stays exempt. False where there is none that goes on.
    ///
    /// # Errors
    /// Fails where the database can't be written.
    pub fn end_exemption(&self, who: &str, at: DateTime<Utc>) -> Result<bool> {
        let sql = "UPDATE exemptions SET until = ?2 WHERE who = ?1 AND until > ?2";
        self.write(|db| Ok(db.execute(sql, params![who, at.timestamp()])? > 0))
    }

    /// All exemptions, those that are over included, by the instant at which they end.
    ///
    /// # Errors
    /// Fails where the database can't be read.
    pub fn exemptions(&self) -> Result<Vec<Exemption>> {
        self.read(|db| {
            let mut select = db.prepare("SELECT who, since, until, why FROM exemptions ORDER BY until, who")?;
            let rows = select.query_map([], |row| {
                let who: String = row.get(0)?;
                let who = who.parse().map_err(|error| corrupt(0, error))?;
                Ok(Exemption { who, since: row.get(1)?, until: row.get(2)?, why: row.get(3)? })
            })?;
            rows.collect()
        })
    }
}

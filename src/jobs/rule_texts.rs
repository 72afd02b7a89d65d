//! The texts that rules look for, all searched for at once.

use aho_corasick::AhoCorasick;

use super::facts::Kinds;
use crate::detect::Looks;

/// The texts of some rules.
pub struct RuleTexts {
    /// None where no rule looks for a text.
    searcher: Option<AhoCorasick>,
    /// For each text the number of its rule.
    owners: Vec<usize>,
    /// Of which kinds the lines are that one of these rules looks for a text in.
    searched: Kinds,
    /// For each rule of which kinds the lines are that it looks at anyway.
    always: Vec<Kinds>,
    /// For each rule whether it has to look at the lines looked at last.
    found: Vec<bool>,
}

impl RuleTexts {
    /// Those that these rules look for, each in lines of these kinds.
    pub fn new<'a>(looks: impl Iterator<Item = (Looks<'a>, Kinds)>) -> Self {
        let looks: Vec<(Looks<'a>, Kinds)> = looks.collect();
        let texts = looks.iter().enumerate().filter_map(|(index, (looks, _))| match looks {
            Looks::Text(text) => Some((index, *text)),
            Looks::Events | Looks::AllLines => None,
        });
        let (owners, texts): (Vec<usize>, Vec<&[u8]>) = texts.unzip();
        let searched = owners.iter().fold(Kinds::NONE, |all, index| all.or(looks[*index].1));
        let anyway = |(looks, kinds): &(Looks<'_>, Kinds)| if *looks == Looks::AllLines { *kinds } else { Kinds::NONE };
        let always: Vec<Kinds> = looks.iter().map(anyway).collect();
        // It fails only where texts are too many and too long for its numbers; then every line is looked at.
        let searcher = AhoCorasick::new(&texts);
        let mut all = Self { searcher: None, found: vec![false; always.len()], owners, searched, always };
        match searcher {
            Ok(searcher) => all.searcher = Some(searcher).filter(|_| !all.owners.is_empty()),
            Err(_) => all.owners.iter().for_each(|index| all.always[*index] = looks[*index].1),
        }
        all
    }

    /// Finds out which rules have to look at the lines of a text, which are of these kinds.
    pub fn look(&mut self, text: &[u8], kinds: Kinds) {
        for (found, always) in self.found.iter_mut().zip(&self.always) {
            *found = always.any_of(kinds);
        }
        let Some(searcher) = self.searcher.as_ref().filter(|_| self.searched.any_of(kinds)) else { return };
        let mut missing = self.owners.len();
        for hit in searcher.find_overlapping_iter(text) {
            let found = &mut self.found[self.owners[hit.pattern().as_usize()]];
            missing -= usize::from(!*found);
            *found = true;
            if missing == 0 {
                break;
            }
        }
    }

    /// Whether any rule has to look at the lines looked at last.
    pub fn any_found(&self) -> bool {
        self.found.contains(&true)
    }

    /// For each rule whether it has to look at the lines looked at last.
    pub fn found(&self) -> &[bool] {
        &self.found
    }
}

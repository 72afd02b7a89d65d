//! The texts that rules look for, all searched for at once.

use aho_corasick::AhoCorasick;

use crate::detect::Looks;

/// The texts of some rules.
pub struct RuleTexts {
    /// None where no rule looks for a text.
    searcher: Option<AhoCorasick>,
    /// For each text the number of its rule.
    owners: Vec<usize>,
    /// For each rule whether it looks at all lines anyway.
    always: Vec<bool>,
    /// For each rule whether it has to look at the lines looked at last.
    found: Vec<bool>,
}

impl RuleTexts {
    /// Those that these rules look for.
    pub fn new<'a>(looks: impl Iterator<Item = Looks<'a>>) -> Self {
        let looks: Vec<Looks<'a>> = looks.collect();
        let texts = looks.iter().enumerate().filter_map(|(index, looks)| match looks {
            Looks::Text(text) => Some((index, *text)),
            Looks::Events | Looks::AllLines => None,
        });
        let (owners, texts): (Vec<usize>, Vec<&[u8]>) = texts.unzip();
        let always: Vec<bool> = looks.iter().map(|looks| *looks == Looks::AllLines).collect();
        // It fails only where texts are too many and too long for its numbers; then every line is looked at.
        let searcher = AhoCorasick::new(&texts);
        let mut all = Self { searcher: None, found: always.clone(), owners, always };
        match searcher {
            Ok(searcher) => all.searcher = Some(searcher).filter(|_| !all.owners.is_empty()),
            Err(_) => all.owners.iter().for_each(|index| all.always[*index] = true),
        }
        all
    }

    /// Finds out which rules have to look at the lines of a text.
    pub fn look(&mut self, text: &[u8]) {
        self.found.copy_from_slice(&self.always);
        let Some(searcher) = &self.searcher else { return };
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

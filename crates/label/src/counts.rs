//! What a run of labelling found: flows and packets by class, conflicts, and rows that nothing matched.

use crate::class::Class;
use crate::table::{Label, TruthTable};

const CLASSES: usize = Class::ALL.len();

/// Counts of labels of one table. One bit a row besides.
#[derive(Clone, Debug)]
pub struct LabelCounts {
    by_class: [ClassCounts; CLASSES],
    unlabelled: ClassCounts,
    conflicts: [[u64; CLASSES]; CLASSES],
    reversed: u64,
    matched: Vec<u64>,
    rows: usize,
}

/// Flows of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassCounts {
    /// Flows.
    pub flows: u64,
    /// Packets of these flows.
    pub packets: u64,
    /// Flows that an equally specific row calls otherwise.
    pub conflicts: u64,
}

impl LabelCounts {
    /// No flows yet.
    #[must_use]
    pub fn new(table: &TruthTable) -> Self {
        Self {
            by_class: Default::default(),
            unlabelled: ClassCounts::default(),
            conflicts: Default::default(),
            reversed: 0,
            matched: vec![0; table.rows().div_ceil(64)],
            rows: table.rows(),
        }
    }

    /// Counts a flow of `packets` packets and what [`TruthTable::label`] said about it.
    pub fn add(&mut self, label: Option<&Label<'_>>, packets: u64) {
        let Some(label) = label else {
            self.unlabelled.flows += 1;
            self.unlabelled.packets += packets;
            return;
        };
        let class = &mut self.by_class[label.class as usize];
        class.flows += 1;
        class.packets += packets;
        class.conflicts += u64::from(label.conflict);
        self.reversed += u64::from(label.reversed);
        if let Some(rival) = label.rival {
            self.conflicts[label.class as usize][rival as usize] += 1;
        }
        if let Some(entry) = label.entry {
            self.matched[entry as usize / 64] |= 1 << (entry % 64);
        }
    }

    /// Flows of a class.
    #[must_use]
    pub const fn class(&self, class: Class) -> ClassCounts {
        self.by_class[class as usize]
    }

    /// Flows without a label.
    #[must_use]
    pub const fn unlabelled(&self) -> ClassCounts {
        self.unlabelled
    }

    /// Flows that have a label.
    #[must_use]
    pub fn labelled_flows(&self) -> u64 {
        self.by_class.iter().map(|class| class.flows).sum()
    }

    /// Flows whose row describes them the other way round.
    #[must_use]
    pub const fn reversed(&self) -> u64 {
        self.reversed
    }

    /// Conflicts by the class that won and the class that lost, where there were any.
    pub fn conflicts(&self) -> impl Iterator<Item = (Class, Class, u64)> + '_ {
        Class::ALL.into_iter().flat_map(move |won| {
            Class::ALL.into_iter().filter_map(move |lost| {
                let flows = self.conflicts[won as usize][lost as usize];
                (flows > 0).then_some((won, lost, flows))
            })
        })
    }

    /// How many rows gave no flow its label.
    #[must_use]
    pub fn rows_never_used(&self) -> u64 {
        let used: u32 = self.matched.iter().map(|word| word.count_ones()).sum();
        self.rows as u64 - u64::from(used)
    }

    /// File and line of the rows that gave no flow its label. `table` is that of [`LabelCounts::new`].
    pub fn never_used<'t>(&'t self, table: &'t TruthTable) -> impl Iterator<Item = (&'t str, u64)> + 't {
        (0..self.rows)
            .filter(|row| self.matched[row / 64] >> (row % 64) & 1 == 0)
            .map(move |row| table.place(row))
    }
}

//! What must hold.

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::torture) enum Invariant {
    Lost,
    OneEnd,
    OneEffect,
    Fence,
    OneHolder,
    Unique,
    Ticks,
    Epochs,
    Chats,
    Bounded,
    Baseline,
    Product,
}

impl Invariant {
    pub(in crate::torture) const ALL: [Self; 12] = [
        Self::Lost,
        Self::OneEnd,
        Self::OneEffect,
        Self::Fence,
        Self::OneHolder,
        Self::Unique,
        Self::Ticks,
        Self::Epochs,
        Self::Chats,
        Self::Bounded,
        Self::Baseline,
        Self::Product,
    ];

    pub(in crate::torture) fn text(self) -> &'static str {
        match self {
            Self::Lost => "I1 no acknowledged job is lost, and none runs whose transaction was rolled back",
            Self::OneEnd => "I2 every job ends in exactly one terminal state, the one that its kind must come to",
            Self::OneEffect => "I3 one effect for each job that is done, none or one for others",
            Self::Fence => "I4 only the latest holder ends, fails or hands back a job",
            Self::OneHolder => "I5 a lease begins an attempt of a job once, and belongs to one process",
            Self::Unique => "I6 at most one open job of a tenant, name and unique key",
            Self::Ticks => "I7 every due time of every line ticks exactly once",
            Self::Epochs => "I8 only the leader of the present epoch makes ticks",
            Self::Chats => {
                "I10 what people hear of an answer is what is kept of it, whole and in order, or they are told to start over"
            }
            Self::Bounded => "I11 attempts are bounded, also of jobs that kill their workers",
            Self::Baseline => "I12 after healing nothing is left behind",
            Self::Product => "I13 the product's own jobs have done what was wanted, once",
        }
    }
}

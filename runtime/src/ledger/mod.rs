//! Accounts of relevance: by module, by attention head and by expert.

pub(crate) mod expert_relevance;
pub(crate) mod modules;

//! Which addresses may be connected to. One policy serves every connection that plugbay makes for somebody else.

pub mod policy;

//! Every vendor's adapter against its simulator, over real HTTP.

mod avisi;

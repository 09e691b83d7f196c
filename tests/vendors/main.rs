//! Each vendor's adapter, through real HTTP, against its stand-in.

mod huawei;

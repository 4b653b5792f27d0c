//! Files as other tools see them, and as we read them back.

mod collapsed;
mod difference;
mod generated;
mod hostile;
mod html;
mod losses;
mod pprof;
mod round_trip;
mod sample;
mod selection;
mod speedscope;
mod spprof;
mod viewers;

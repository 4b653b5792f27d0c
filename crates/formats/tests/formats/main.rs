//! Files as other tools see them, and as we read them back.

mod collapsed;
mod difference;
mod hostile;
mod html;
mod round_trip;
mod sample;
mod selection;
mod speedscope;

mod frames;
mod socket;

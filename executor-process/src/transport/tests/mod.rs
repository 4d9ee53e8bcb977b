mod fd;
mod frames;

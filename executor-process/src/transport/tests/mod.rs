mod fd;
mod frames;
mod hostile;
mod link;

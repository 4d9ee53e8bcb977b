mod futures;
mod hostile;
mod messages;

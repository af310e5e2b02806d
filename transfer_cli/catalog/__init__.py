"""Tables: a row is an ability. No row imports anything heavy until it is used."""

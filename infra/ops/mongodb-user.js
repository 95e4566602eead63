// Runs once, when the database is empty: makes the user of MapSeek's services, which may read and write one database only.
const database = process.env.MAPSEEK_MONGODB_DATABASE;
db.getSiblingDB(database).createUser({
  user: "mapseek",
  pwd: process.env.MONGODB_PASSWORD,
  roles: [{ role: "readWrite", db: database }],
});

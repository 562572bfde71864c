// The queries of the guide that people had before Baton (2. messages, 4. sessions, 6. permissions, inspection,
// performance, tuning), as they stand there: typed into mongosh. One query between blank lines.

db.messages.countDocuments()

db.conversations.find().count()

db.messages.find().sort({createdAt: -1}).limit(5)

db.messages.find({status: "failed"})

db.messages.aggregate([
  { $group: { _id: "$status", count: { $sum: 1 } } }
])

db.messages.find({conversationId: {$exists: false}})

db.runCommand({connectionStatus: 1})

db.conversations.find({claudeSessionId: {$ne: null}})

db.conversations.find({}, {claudeSessionId: 1, updatedAt: 1}).sort({updatedAt: -1})

db.messages.find({sessionId: {$exists: true}}, {sessionId: 1, createdAt: 1})

db.interactive_prompts.find({status: "pending"})

db.conversation_permissions.find({status: "granted"})

db.interactive_prompts.find({status: "timeout"})

db.interactive_prompts.updateMany(
  {status: "pending"},
  {$set: {status: "timeout", autoHandler: "cleanup"}}
)

db.runCommand({collStats: "messages"})

db.conversations.find({
  $or: [
    {messages: {$size: 0}},
    {claudeSessionId: null},
    {updatedAt: {$lt: new Date(Date.now() - 24*60*60*1000)}}
  ]
})

db.messages.find({
  $or: [
    {content: ""},
    {claudeData: null},
    {conversationId: {$exists: false}}
  ]
})

db.messages.explain("executionStats").find({conversationId: ObjectId("...")})

db.serverStatus().connections

db.messages.createIndex({conversationId: 1, createdAt: -1})

db.messages.createIndex({sessionId: 1})

db.conversations.createIndex({claudeSessionId: 1})

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.Scanner;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Publishes batches with Apache Kafka's own client: one JSON object on each line of standard input, with the
 * client's settings, whether to commit or to abort a transaction, and the records.
 */
public class Publish {
  public static void main(String[] arguments) throws Exception {
    ObjectMapper json = new ObjectMapper();
    Scanner lines = new Scanner(System.in, StandardCharsets.UTF_8);
    while (lines.hasNextLine()) {
      JsonNode batch = json.readTree(lines.nextLine());
      Map<String, Object> settings = new HashMap<>();
      settings.put("bootstrap.servers", arguments[0]);
      batch.get("settings").fields().forEachRemaining(entry -> settings.put(entry.getKey(), entry.getValue().asText()));
      String end = batch.path("transaction").asText("none");
      if (!end.equals("none")) {
        settings.put("transactional.id", "publish-" + end);
      }
      try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
        if (!end.equals("none")) {
          producer.initTransactions();
          producer.beginTransaction();
        }
        for (JsonNode record : batch.get("records")) {
          producer.send(new ProducerRecord<>(
              record.get("topic").asText(), record.get("key").textValue(), record.get("value").textValue()));
        }
        producer.flush();
        if (end.equals("commit")) {
          producer.commitTransaction();
        } else if (end.equals("abort")) {
          producer.abortTransaction();
        }
      }
    }
  }
}

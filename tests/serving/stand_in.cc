// Stands in for TensorFlow Serving: its loader, through TensorFlow's C library, and a batching loop.
//
//   stand_in EXPORT MAX_BATCH_SIZE TIMEOUT_MICROS THREADS MAX_ENQUEUED INPUT... -- OUTPUT...
//
// INPUT and OUTPUT are names of tensors. Reads requests: how many, and of each its rows for each
// input, strings. Writes for each, in any order: its number, 0 or an error's code, how many rows its
// batch had, and its outputs or what is wrong. All whole numbers have 8 bytes.

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tensorflow/c/c_api.h"

namespace tensorflow {
void DisableXlaCompilation();  // the stock server calls it before it loads a model
}

using Clock = std::chrono::steady_clock;
using Strings = std::vector<std::string>;

struct Request {
  int64_t number;
  std::vector<Strings> inputs;
  Clock::time_point since;
  int64_t rows() const { return inputs[0].size(); }
};

int64_t read_number() {
  int64_t value;
  if (fread(&value, 8, 1, stdin) != 1) exit(3);
  return value;
}

std::string read_string() {
  std::string value(read_number(), 0);
  if (!value.empty() && fread(&value[0], value.size(), 1, stdin) != 1) exit(3);
  return value;
}

void put(std::string* out, int64_t value) { out->append(reinterpret_cast<char*>(&value), 8); }

void put(std::string* out, const char* data, size_t size) {
  put(out, size);
  out->append(data, size);
}

// Rows of a tensor: type, shape and values.
void put_rows(std::string* out, TF_Tensor* tensor, int64_t first, int64_t rows) {
  int64_t width = 1;
  put(out, TF_TensorType(tensor));
  put(out, TF_NumDims(tensor));
  put(out, rows);
  for (int i = 1; i < TF_NumDims(tensor); ++i) {
    put(out, TF_Dim(tensor, i));
    width *= TF_Dim(tensor, i);
  }
  if (TF_TensorType(tensor) == TF_FLOAT) {
    auto values = static_cast<char*>(TF_TensorData(tensor)) + 4 * first * width;
    out->append(values, 4 * rows * width);
    return;
  }
  auto values = static_cast<TF_TString*>(TF_TensorData(tensor)) + first * width;
  for (int64_t i = 0; i < rows * width; ++i)
    put(out, TF_StringGetDataPointer(values + i), TF_StringGetSize(values + i));
}

TF_Tensor* tensor_of(const std::vector<Request>& batch, size_t input, int64_t rows) {
  auto tensor = TF_AllocateTensor(TF_STRING, &rows, 1, rows * sizeof(TF_TString));
  auto cell = static_cast<TF_TString*>(TF_TensorData(tensor));
  for (auto& request : batch)
    for (auto& value : request.inputs[input]) {
      TF_StringInit(cell);
      TF_StringCopy(cell++, value.data(), value.size());
    }
  return tensor;
}

class Server {
 public:
  Server(const char* path, int64_t most, int64_t micros, int64_t threads, int64_t enqueued)
      : most_(most), wait_(micros), limit_(most * enqueued), status_(TF_NewStatus()) {
    tensorflow::DisableXlaCompilation();
    const char* tags[] = {"serve"};
    graph_ = TF_NewGraph();
    session_ = TF_LoadSessionFromSavedModel(TF_NewSessionOptions(), nullptr, path, tags, 1, graph_,
                                            nullptr, status_);
    if (TF_GetCode(status_) != TF_OK) {
      fprintf(stderr, "%s\n", TF_Message(status_));
      exit(2);
    }
    for (int64_t i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
  }

  void feed(const std::string& name) { feeds_.push_back(output(name)); }
  void fetch(const std::string& name) { fetches_.push_back(output(name)); }
  size_t inputs() const { return feeds_.size(); }

  void submit(Request request) {
    std::unique_lock<std::mutex> lock(mutex_);
    if (request.rows() > most_) return refuse(request, TF_INVALID_ARGUMENT, 0, "task size");
    if (waiting_ + request.rows() > limit_) return refuse(request, TF_UNAVAILABLE, 0, "queue full");
    request.since = Clock::now();
    waiting_ += request.rows();
    queue_.push_back(std::move(request));
    changed_.notify_all();
  }

  void finish() {
    {
      std::unique_lock<std::mutex> lock(mutex_);
      closed_ = true;
      changed_.notify_all();
    }
    for (auto& thread : threads_) thread.join();
  }

 private:
  TF_Output output(const std::string& name) {
    auto colon = name.find(':');
    auto operation = TF_GraphOperationByName(graph_, name.substr(0, colon).c_str());
    return {operation, atoi(name.c_str() + colon + 1)};
  }

  // The requests that run next: as many as fit, once they do or the oldest has waited.
  std::vector<Request> next() {
    std::unique_lock<std::mutex> lock(mutex_);
    std::vector<Request> batch;
    while (true) {
      if (queue_.empty() && closed_) return batch;
      if (queue_.empty()) {
        changed_.wait(lock);
        continue;
      }
      auto due = queue_.front().since + std::chrono::microseconds(wait_);
      if (closed_ || waiting_ >= most_ || Clock::now() >= due) break;
      changed_.wait_until(lock, due);
    }
    int64_t rows = 0;
    while (!queue_.empty() && rows + queue_.front().rows() <= most_) {
      rows += queue_.front().rows();
      batch.push_back(std::move(queue_.front()));
      queue_.pop_front();
    }
    waiting_ -= rows;
    return batch;
  }

  void work() {
    for (auto batch = next(); !batch.empty(); batch = next()) run(batch);
  }

  void run(const std::vector<Request>& batch) {
    int64_t rows = 0, first = 0;
    for (auto& request : batch) rows += request.rows();
    std::vector<TF_Tensor*> in, out(fetches_.size());
    for (size_t i = 0; i < feeds_.size(); ++i) in.push_back(tensor_of(batch, i, rows));
    auto status = TF_NewStatus();
    TF_SessionRun(session_, nullptr, feeds_.data(), in.data(), in.size(), fetches_.data(),
                  out.data(), out.size(), nullptr, 0, nullptr, status);
    for (auto& request : batch) {
      if (TF_GetCode(status) != TF_OK) {
        // As there, what is wrong with one is an error of the whole batch.
        refuse(request, TF_GetCode(status), rows, TF_Message(status));
        continue;
      }
      std::string answer;
      for (auto number : {request.number, int64_t{0}, rows}) put(&answer, number);
      for (auto tensor : out) put_rows(&answer, tensor, first, request.rows());
      write(answer);
      first += request.rows();
    }
    for (auto tensors : {&in, &out})
      for (auto tensor : *tensors)
        if (tensor) TF_DeleteTensor(tensor);
    TF_DeleteStatus(status);
  }

  void refuse(const Request& request, int64_t code, int64_t rows, const std::string& message) {
    std::string answer;
    for (auto number : {request.number, code, rows}) put(&answer, number);
    put(&answer, message.data(), message.size());
    write(answer);
  }

  void write(const std::string& answer) {
    std::unique_lock<std::mutex> lock(writing_);
    fwrite(answer.data(), answer.size(), 1, stdout);
  }

  int64_t most_, wait_, limit_, waiting_ = 0;
  bool closed_ = false;
  TF_Status* status_;
  TF_Graph* graph_;
  TF_Session* session_;
  std::vector<TF_Output> feeds_, fetches_;
  std::deque<Request> queue_;
  std::mutex mutex_, writing_;
  std::condition_variable changed_;
  std::vector<std::thread> threads_;
};

int main(int count, char** words) {
  Server server(words[1], atol(words[2]), atol(words[3]), atol(words[4]), atol(words[5]));
  bool outputs = false;
  for (int i = 6; i < count; ++i) {
    if (!strcmp(words[i], "--"))
      outputs = true;
    else if (outputs)
      server.fetch(words[i]);
    else
      server.feed(words[i]);
  }
  int64_t requests = read_number();
  for (int64_t number = 0; number < requests; ++number) {
    Request request{number, std::vector<Strings>(server.inputs()), {}};
    int64_t rows = read_number();
    for (auto& input : request.inputs)
      for (int64_t row = 0; row < rows; ++row) input.push_back(read_string());
    server.submit(std::move(request));
  }
  server.finish();
}

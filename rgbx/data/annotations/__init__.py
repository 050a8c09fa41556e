"""Reading box annotations: Pascal VOC, YOLO, COCO, LabelMe, KAIST."""
